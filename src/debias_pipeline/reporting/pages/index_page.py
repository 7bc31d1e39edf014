"""The index page of a setting: links to all its reports, and what each page says about itself."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypedDict
from urllib.parse import quote

from debias_pipeline.records import Metrics
from debias_pipeline.reporting.metric_table import last_step, metric_text
from debias_pipeline.reporting.pages.page import ABOUT, render
from debias_pipeline.reporting.text import percentage_over_seeds, range_over_seeds, title_of
from debias_pipeline.selection_rules import LAST

COMPARISON: Final = "Comparison"
AUDIT: Final = "Audit"
LEADERBOARD: Final = "Leaderboard"
# Bytes at the beginning of a page that contain what it says about itself.
ABOUT_BYTES: Final = 16_384


class About(TypedDict, total=False):
    """What a page says about itself, as text for people; pages of earlier versions say nothing.

    Attributes:
        name: of the method, or what kind of page it is.
        title: name of the data set.
        seeds: seeds of the training runs.
        steps: step that was evaluated.
        result: headline accuracy with its selection rule, or the main sentence of the page.
    """

    name: str
    title: str
    seeds: str
    steps: str
    result: str


@dataclass(frozen=True)
class StoredPage:
    """A version of a page.

    Attributes:
        path: relative to the index page.
        version: time of the run, as Kedro writes it.
        about: what the page says about itself.
    """

    path: str
    version: str
    about: About

    @property
    def address(self) -> str:
        """Return the path as a relative URL."""
        return quote(self.path)

    @property
    def date(self) -> str:
        """Return the version as "2026-11-26 14:49:46 UTC"."""
        day, _, time = self.version.partition("T")
        hours = ":".join(time.split(".")[:3])
        return f"{day} {hours} UTC" if hours else day


@dataclass(frozen=True)
class PageGroup:
    """All versions of a page.

    Attributes:
        name: heading of the group if the newest page does not say its name.
        pages: the newest first; may be empty.
        files: paths of other files that belong to it, relative to the index page.
    """

    name: str
    pages: Sequence[StoredPage]
    files: Sequence[str] = ()

    @property
    def heading(self) -> str:
        """Return the name that the newest page says, for example of a method."""
        return (self.pages[0].about.get("name") if self.pages else "") or self.name

    @property
    def links(self) -> list[tuple[str, str]]:
        """Return name and relative URL of every file."""
        return [(path.rpartition("/")[2], quote(path)) for path in self.files]


def write_index_page(title: str, groups: Sequence[PageGroup]) -> str:
    """Return the index page, an HTML page whose links are relative.

    Args:
        title: name of the data set if no page says it.
        groups: in the order in which they are shown.
    """
    said = [each.about.get("title", "") for group in groups for each in group.pages]
    shown = next(filter(None, said), title)
    return render("index_page.html.jinja", about={}, title=shown, groups=groups)


def read_about(page: str) -> About:
    """Return what a page says about itself; empty for a page of an earlier version.

    Args:
        page: at least the first `ABOUT_BYTES` bytes of the page.
    """
    found = re.search(rf"<meta name=\"{ABOUT}\" content='([^']*)'", page)
    about: About = json.loads(found[1]) if found else {}
    return about


def about_methods(name: str, metrics: Sequence[Metrics]) -> About:
    """Return what a page about methods says about itself.

    Args:
        name: name of the page.
        metrics: metrics of each method on the page, at least one.
    """
    headline = metric_text(metrics[0]["headline"], metrics[0].get("unbiased_test"))

    def by_method(text_of: Callable[[Metrics], str]) -> list[str]:
        return [f"{each['method']} {text_of(each)}" for each in metrics]

    def summary(text_of: Callable[[Metrics], str]) -> str:
        different = dict.fromkeys(map(text_of, metrics))
        return ", ".join(different if len(different) == 1 else by_method(text_of))

    def accuracy(of_method: Metrics) -> str:
        return percentage_over_seeds(last_step(of_method)[headline.key])

    accuracies = [accuracy(metrics[0])] if len(metrics) == 1 else by_method(accuracy)
    return {
        "name": name,
        "title": title_of(metrics[0]),
        # Metrics of earlier versions lack the key.
        "seeds": summary(lambda each: "+".join(map(str, each.get("seeds", [])))),
        "steps": summary(lambda each: range_over_seeds(last_step(each)["step"])),
        "result": f"{headline.name} ({LAST.name}): {', '.join(accuracies)}",
    }
