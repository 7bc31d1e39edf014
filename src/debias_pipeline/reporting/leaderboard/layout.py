"""How a leaderboard is laid out: a section per data set, a table per protocol."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from debias_pipeline.published import sources_by_method
from debias_pipeline.reporting.leaderboard.table import FAILED
from debias_pipeline.reporting.leaderboard.wording import (
    failure_in_words,
    headline_of,
    is_unbiased,
    progress_in_words,
    settings_in_words,
    unreliable_in_words,
    verdict_in_words,
)
from debias_pipeline.reporting.wording import Metric
from debias_pipeline.selection_rules import SELECTION_RULES, SelectionRule

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Table:
    """Methods by percents under one protocol.

    Attributes:
        protocol: how checkpoints are picked.
        rows: method and its row at every percent of the section, None where the grid has no cell.
        tested: percent and what was tested there, in words.
        unreliable: which rows rest on too few images, in words; "" if none does.
    """

    protocol: SelectionRule
    rows: tuple[tuple[str, tuple[Row | None, ...]], ...]
    tested: tuple[tuple[str, str], ...]
    unreliable: str

    @property
    def published_sources(self) -> list[str]:
        """Sources of the published accuracies in the table, in words; empty if there are none."""
        return sources_by_method(
            (method, row["published_source"])
            for method, rows in self.rows
            for row in rows
            if row and row["published"] is not None
        )


@dataclass(frozen=True)
class Section:
    """What there is of one data set.

    Attributes:
        dataset: its name.
        headline: the metric that published tables quote for it.
        headline_name: its name, for people.
        unbiased_test: whether accuracy may be called unbiased.
        percents: from low to high.
        tables: one per protocol.
        settings: what all its cells have in common.
        warning: in what they differ and should not; whether the test split may be biased.
        progress: how many of its cells are done and what they took.
        failures: where something went wrong and what, in words.
    """

    dataset: str
    headline: Metric
    headline_name: str
    unbiased_test: bool
    percents: tuple[str, ...]
    tables: tuple[Table, ...]
    settings: str
    warning: str
    progress: str
    failures: tuple[str, ...]


def sections(leaderboard: Mapping[str, Any]) -> list[Section]:
    """Lay a leaderboard out.

    Args:
        leaderboard: from `make_leaderboard`.
    """
    datasets = dict.fromkeys(row["dataset"] for row in leaderboard["rows"])
    return [_section(leaderboard, dataset) for dataset in datasets]


def _section(leaderboard: Mapping[str, Any], dataset: str) -> Section:
    rows = [row for row in leaderboard["rows"] if row["dataset"] == dataset]
    comparisons = [each for each in leaderboard["comparisons"] if each["dataset"] == dataset]
    percents = tuple(dict.fromkeys(row["percent"] for row in rows))
    headline, headline_name = headline_of(rows)
    settings, warning = settings_in_words(rows)
    return Section(
        dataset=dataset,
        headline=headline,
        headline_name=headline_name,
        unbiased_test=is_unbiased(rows),
        percents=percents,
        tables=tuple(
            _table(rows, comparisons, percents, protocol) for protocol in SELECTION_RULES.values()
        ),
        settings=settings,
        warning=warning,
        progress=progress_in_words(rows),
        failures=tuple(_failures(rows)),
    )


def _failures(rows: Sequence[Row]) -> list[str]:
    """What went wrong and where; cells that failed alike are named together."""
    cells: dict[str, dict[str, None]] = {}
    for row in rows:
        if row["status"] == FAILED:
            places = cells.setdefault(failure_in_words(row), {})
            places[f"{row['percent']} {row['method']}"] = None
    return [f"{', '.join(places)} {failure}" for failure, places in cells.items()]


def _table(
    rows: Sequence[Row],
    comparisons: Sequence[Mapping[str, Any]],
    percents: Sequence[str],
    protocol: SelectionRule,
) -> Table:
    rows = [row for row in rows if row["protocol"] == protocol.key]
    places = {(row["method"], row["percent"]): row for row in rows}
    methods = dict.fromkeys(row["method"] for row in rows)
    return Table(
        protocol=protocol,
        rows=tuple((m, tuple(places.get((m, percent)) for percent in percents)) for m in methods),
        tested=tuple(
            (each["percent"], verdict_in_words(each, _without_figures(rows, each["percent"])))
            for each in comparisons
            if each["protocol"] == protocol.key
        ),
        unreliable=unreliable_in_words(rows),
    )


def _without_figures(rows: Sequence[Row], percent: str) -> list[str]:
    return [row["method"] for row in rows if row["percent"] == percent and row["mean"] is None]
