"""The leaderboard as an HTML page."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from debias_pipeline.errors import UserError
from debias_pipeline.reporting.formatting import DASH, mean_and_std, points, seed_values
from debias_pipeline.reporting.leaderboard.layout import Row, Section, Table, sections
from debias_pipeline.reporting.leaderboard.table import DONE
from debias_pipeline.reporting.leaderboard.wording import (
    duration,
    explain_test,
    figure_text,
    hole_in_words,
    memory,
    progress_in_words,
)
from debias_pipeline.reporting.names import shortened
from debias_pipeline.reporting.pages import data_address, render
from debias_pipeline.reporting.wording import (
    AUROC,
    metrics_with_headline_first,
)

DEFAULT_MLFLOW_UI = "http://127.0.0.1:5000"

_LONGEST_REASON = 60  # characters in a cell; the whole stands above the tables


@dataclass(frozen=True)
class Entry:
    """A cell of a table on the page.

    Attributes:
        text: what it shows; a hole shows why it is one.
        link: to the MLflow run, "" if there is none.
        title: what it says when pointed at.
        note: a second, smaller line.
        best: whether it is marked.
        hole: whether there is no figure.
    """

    text: str
    link: str = ""
    title: str = ""
    note: str = ""
    best: bool = False
    hole: bool = False


def write_leaderboard_page(
    leaderboard: Mapping[str, Any],
    figures: Mapping[str, str],
    commands: Sequence[str],
    mlflow_ui: str = DEFAULT_MLFLOW_UI,
) -> str:
    """Write the leaderboard as a page.

    Args:
        leaderboard: from `make_leaderboard`.
        figures: SVG text by data set, from `draw_leaderboard_figures`.
        commands: run the grid again, and rank again what it left.
        mlflow_ui: where MLflow's pages are served; every figure links to its run there.

    Returns:
        A whole HTML page that loads nothing.

    Raises:
        UserError: if `mlflow_ui` is no address of a web server.
    """
    base = _checked(mlflow_ui)
    return render(
        "leaderboard_page.html.jinja",
        progress=progress_in_words(leaderboard["rows"]),
        sections=[_section(each, figures, base) for each in sections(leaderboard)],
        test=explain_test(leaderboard["test"]),
        auroc_explained=AUROC,
        mlflow_ui=base,
        commands=commands,
    )


def run_link(row: Mapping[str, Any], mlflow_ui: str) -> str:
    """The address of a row's MLflow run, "" if it has none.

    Args:
        row: of the leaderboard.
        mlflow_ui: where MLflow's pages are served.
    """
    experiment, run = row["mlflow_experiment_id"], row["mlflow_run_id"]
    if not experiment or not run:
        return ""
    places = [quote(str(part), safe="") for part in (experiment, run)]
    return f"{mlflow_ui}/#/experiments/{places[0]}/runs/{places[1]}"


def _checked(mlflow_ui: str) -> str:
    # An address of another kind in a link would be run as a script.
    parts = urlsplit(mlflow_ui)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise UserError(
            f"mlflow_ui={mlflow_ui!r} is no web address: give one such as {DEFAULT_MLFLOW_UI}"
        )
    return mlflow_ui.rstrip("/")


def _section(section: Section, figures: Mapping[str, str], mlflow_ui: str) -> dict[str, Any]:
    return {
        "dataset": section.dataset,
        "headline": section.headline,
        "headline_name": section.headline_name,
        "percents": section.percents,
        "settings": section.settings,
        "warning": section.warning,
        "failures": section.failures,
        "figure": data_address(figures[section.dataset]) if section.dataset in figures else "",
        "tables": [_table(table, mlflow_ui) for table in section.tables],
        "cost": _grid(section.tables[0], lambda row: _cost(row, mlflow_ui)),
        "columns": metrics_with_headline_first(section.headline.key, section.unbiased_test),
        "further": [
            (table.protocol, _further_rows(section, table, mlflow_ui)) for table in section.tables
        ],
    }


def _table(table: Table, mlflow_ui: str) -> dict[str, Any]:
    return {
        "protocol": table.protocol,
        "published": table.published_sources,
        "rows": _grid(table, lambda row: _figure(row, mlflow_ui)),
        "tested": table.tested,
        "unreliable": table.unreliable,
    }


def _grid(table: Table, entry: Callable[[Row], Entry]) -> list[tuple[str, list[Entry]]]:
    return [
        (method, [Entry("", hole=True) if row is None else entry(row) for row in rows])
        for method, rows in table.rows
    ]


def _figure(row: Row, mlflow_ui: str) -> Entry:
    published = row["published"]
    note = "" if published is None else f"published {100 * published:.2f}"
    link = run_link(row, mlflow_ui)
    if row["mean"] is None:
        reason = hole_in_words(row)
        return Entry(shortened(reason, _LONGEST_REASON), link, title=reason, note=note, hole=True)
    if published is not None:
        note += f" ({points(row['difference'])})"
    return Entry(
        figure_text(row), link, title=f"by seed: {seed_values(row)}", note=note, best=row["is_best"]
    )


def _cost(row: Row, mlflow_ui: str) -> Entry:
    if row["seconds"] is None:
        return Entry(row["status"] if row["status"] != DONE else DASH, hole=True)
    return Entry(
        duration(row["seconds"]),
        run_link(row, mlflow_ui),
        note=memory(row["peak_memory_bytes"]),
    )


def _further_rows(
    section: Section, table: Table, mlflow_ui: str
) -> list[tuple[str, str, list[Entry]]]:
    """Every metric of every cell with figures: percent, method, entries."""
    return [
        (percent, method, _all_metrics(section, row, mlflow_ui))
        for place, percent in enumerate(section.percents)
        for method, rows in table.rows
        if (row := rows[place]) and row["mean"] is not None
    ]


def _all_metrics(section: Section, row: Row, mlflow_ui: str) -> list[Entry]:
    columns = metrics_with_headline_first(section.headline.key, section.unbiased_test)
    scales = {metric.key: (100, 1) for metric in columns}
    scales["conflict_detection_auroc"] = (1, 3)
    link = run_link(row, mlflow_ui)
    return [
        Entry(mean_and_std({"mean": row[f"{key}_mean"], "std": row[f"{key}_std"]}, *scale), link)
        for key, scale in scales.items()
    ]
