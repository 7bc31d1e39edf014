"""The index page of a setting, and what pages say about themselves."""

import re
from dataclasses import replace
from html import unescape

import pytest
from made_up_reports import comparison_report, method_report
from made_up_runs import Run

from debias_pipeline.reporting import (
    ABOUT_BYTES,
    PageGroup,
    StoredPage,
    read_about,
    with_shown_name,
    write_index_page,
)

VERSIONS = ("2026-11-26T14.49.46.498Z", "2026-11-25T09.00.00.000Z")


@pytest.fixture(scope="module")
def index(vanilla: Run, disent: Run) -> str:
    def pages(page: str, path: str) -> list[StoredPage]:
        about = read_about(page[:ABOUT_BYTES])
        return [StoredPage(f"{path}/{each}/report.html", each, about) for each in VERSIONS]

    return write_index_page(
        "cmnist/2pct",
        [
            PageGroup("Comparison", pages(comparison_report(vanilla, disent), "comparison")),
            PageGroup("disent", pages(method_report(disent), "disent"), ["disent/suspects.csv"]),
            PageGroup("old", [StoredPage("old/report.html", VERSIONS[0], {})]),
        ],
    )


@pytest.mark.slow
def test_versions_have_date_seeds_step_and_accuracy_with_its_rule(index: str, disent: Run) -> None:
    text = unescape(re.sub(r"<[^>]+>", " ", index))
    for part in ("2026-11-26 14:49:46 UTC", "2026-11-25 09:00:00 UTC", "3+4"):
        assert part in text
    assert "Unbiased accuracy (last): 59.5 ± 0.7 %" in text
    assert "Unbiased accuracy (last): vanilla " in text
    assert "Reports of cmnist_mini, 2pct" in text


@pytest.mark.slow
def test_pages_link_to_each_other_by_way_of_the_index(
    index: str, vanilla: Run, disent: Run
) -> None:
    published = replace(disent, metrics=with_shown_name(disent.metrics, "pretrained"))
    for page, names in (
        (method_report(disent), {"comparison"}),
        (comparison_report(vanilla, disent), {"vanilla", "disent"}),
        (comparison_report(disent, published), {"disent", "disent-(published-checkpoint)"}),
    ):
        links = [unescape(each) for each in re.findall(r'href="([^"]*index\.html[^"]*)"', page)]
        assert names <= {_decoded(each.partition("#")[2]) for each in links}
    assert {'id="comparison"', 'id="disent"'} <= set(re.findall(r'id="[^"]+"', index))
    assert "disent (published checkpoint)" in method_report(published)


def _decoded(fragment: str) -> str:
    return fragment.replace("%28", "(").replace("%29", ")")


def test_texts_and_paths_are_escaped(disent: Run) -> None:
    evil = "<b>'\"&"
    page = method_report(replace(disent, metrics={**disent.metrics, "title": evil}))
    about = read_about(page)
    assert about["title"] == evil
    index = write_index_page("", [PageGroup(evil, [StoredPage("a #?/b.html", "v1", about)])])
    assert "<b>" not in index
    assert 'href="a%20%23%3F/b.html"' in index
