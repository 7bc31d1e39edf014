"""The leaderboard as an HTML page."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple
from urllib.parse import quote

from debias_pipeline.names import DONE
from debias_pipeline.reporting.conditions import (
    BIAS_LABELS_EXPLAINED,
    COLLAPSED_EXPLAINED,
    COST_EXPLAINED,
    collapsed_text,
)
from debias_pipeline.reporting.figures.charts import Chart
from debias_pipeline.reporting.leaderboard.references import marked
from debias_pipeline.reporting.leaderboard.rows import Leaderboard, LeaderboardRow, measured
from debias_pipeline.reporting.leaderboard.sections import (
    RuleTable,
    Section,
    accuracy_text,
    explain_test,
    headline_evidence,
    labels_of,
    passes_of,
    percent_name,
    progress_in_words,
    published_text,
    sections,
    why_missing,
)
from debias_pipeline.reporting.metric_table import (
    AUROC,
    MetricText,
    TableCell,
    metrics_with_headline_first,
)
from debias_pipeline.reporting.pages.index_page import LEADERBOARD
from debias_pipeline.reporting.pages.page import (
    FigureBlock,
    FigureText,
    figure_blocks,
    page_scripts,
    render,
)
from debias_pipeline.reporting.pages.provenance import web_address
from debias_pipeline.reporting.text import (
    DASH,
    FEW_IMAGES,
    cost_text,
    duration,
    mean_and_std,
    median_text,
    memory,
    passes_text,
    percentage,
    points,
    shortened,
)
from debias_pipeline.selection_rules import SELECTION_RULES, SelectionRule

_LONGEST_REASON: Final = 60  # characters in a table cell; the whole text is below the table
# A row may have values at some percents that were measured here, and references at others.
_ORIGINS: Final = {False: "own", True: "references"}


class _Row(NamedTuple):
    """A row of a table: its names, the values by which it is filtered, and its other cells."""

    method: str
    percent: str
    labels: str
    origin: str
    cells: list[TableCell]


class _Body(NamedTuple):
    """The rows of a table that are sorted together: those of a selection rule, oracles apart."""

    rule: SelectionRule
    has_oracles: bool
    rows: list[_Row]


@dataclass(frozen=True)
class _SectionOfPage:
    """A data set on the page.

    Attributes:
        section: names and sentences of the section.
        figures: one, or none if there are no values.
        accuracies: a table with a row per method and a column per percent.
        metrics: names and explanations of columns of `trials`.
        trials: a table with a row per trial: metrics, AUROC, and cost.
    """

    section: Section
    figures: list[FigureBlock]
    accuracies: list[_Body]
    metrics: list[MetricText]
    trials: list[_Body]


def write_leaderboard_page(
    leaderboard: Leaderboard,
    figures: Mapping[str, str],
    commands: Sequence[str],
    mlflow_ui: str = "",
    charts: Mapping[str, Chart] | None = None,
    files: Iterable[str] = (),
) -> str:
    """Return the leaderboard as an HTML page that loads no other files.

    Args:
        leaderboard: from `make_leaderboard`.
        figures: SVG text by data set, from `draw_leaderboard_figures`.
        commands: run the grid again, and make the leaderboard again.
        mlflow_ui: address of MLflow's pages, to which values link; "" makes no links.
        charts: interactive charts that replace figures, from `leaderboard_charts`.
        files: names of files in the folder `tables` next to the page, to which it links.

    Raises:
        UserError: if `mlflow_ui` is not the address of a web server.
    """
    base = web_address(mlflow_ui)
    progress, parts = progress_in_words(leaderboard["rows"]), sections(leaderboard)
    with_values = {row["protocol"] for row in leaderboard["rows"] if row["mean"] is not None}
    rules = [(rule.key, rule.name) for rule in SELECTION_RULES.values() if rule.key in with_values]
    return render(
        "leaderboard_page.html.jinja",
        scripts=page_scripts(with_charts=bool(charts)),
        page_data={"rules": [*rules, ("all", "all")], "seeds": []},
        about={
            "name": LEADERBOARD,
            "result": f"{', '.join(each.name for each in parts)}: {progress}",
        },
        progress=progress,
        sections=[_section_of_page(each, figures, charts or {}, base) for each in parts],
        test=explain_test(leaderboard["test"]),
        auroc_explained=AUROC,
        bias_labels_explained=BIAS_LABELS_EXPLAINED,
        cost_explained=COST_EXPLAINED,
        collapsed_explained=COLLAPSED_EXPLAINED,
        mlflow_ui=base,
        few_images=FEW_IMAGES,
        percent_name=percent_name,
        commands=commands,
        files=list(files),
    )


def run_link(row: LeaderboardRow, mlflow_ui: str) -> str:
    """Return the address of a row's MLflow run, "" if there is none."""
    experiment, run = row["mlflow_experiment_id"], row["mlflow_run_id"]
    if not mlflow_ui or not experiment or not run:
        return ""
    return f"{mlflow_ui}/#/experiments/{quote(experiment, safe='')}/runs/{quote(run, safe='')}"


def _section_of_page(
    section: Section, figures: Mapping[str, str], charts: Mapping[str, Chart], mlflow_ui: str
) -> _SectionOfPage:
    metrics = metrics_with_headline_first(section.headline.key, section.unbiased_test)

    def accuracies(rows: Sequence[LeaderboardRow | None]) -> list[tuple[str, list[TableCell]]]:
        missing = TableCell("", style="missing")
        cells = [_accuracy_cell(row, run_link(row, mlflow_ui)) if row else missing for row in rows]
        return [("", cells)]

    def trials(rows: Sequence[LeaderboardRow | None]) -> list[tuple[str, list[TableCell]]]:
        return [
            (row["percent"], _trial_cells(row, metrics, run_link(row, mlflow_ui)))
            for row in rows
            if row
        ]

    texts = {section.dataset: _figure_text(section)}
    return _SectionOfPage(
        section=section,
        figures=figure_blocks(texts, figures, charts, {section.dataset: section.finding}),
        accuracies=_bodies(section.tables, accuracies),
        metrics=metrics,
        trials=_bodies(section.tables, trials),
    )


def _bodies(
    tables: Sequence[RuleTable],
    rows_of: Callable[[Sequence[LeaderboardRow | None]], list[tuple[str, list[TableCell]]]],
) -> list[_Body]:
    """Return the rows of a table by selection rule.

    Args:
        tables: tables of a section.
        rows_of: returns percent and cells of each row of a method.
    """
    bodies = []
    for table in tables:
        for has_oracles in (False, True):
            rows = [
                _Row(method, percent, labels_of(table, method), _origin(of_method), cells)
                for method, of_method in table.rows
                if (method in table.oracles) == has_oracles
                for percent, cells in rows_of(of_method)
            ]
            if rows:
                bodies.append(_Body(table.rule, has_oracles, rows))
    return bodies


def _origin(rows: Sequence[LeaderboardRow | None]) -> str:
    """Return where the results of a row come from: "own", "references" or "own|references"."""
    found = {bool(row.get("reference")) for row in rows if row}
    return "|".join(_ORIGINS[each] for each in sorted(found))


def _figure_text(section: Section) -> FigureText:
    name = section.headline_name
    against = " against percent" if len(section.percents) > 1 else ""
    hollow = any(table.sources for table in section.tables)
    return FigureText(
        f"{name}{against}",
        "Filled marks: mean over seeds, with several seeds ± one standard deviation."
        + (" Hollow marks: published accuracies." if hollow else ""),
        f"Chart of {name.lower()}{against} by method and selection rule",
    )


# --- Cells ----------------------------------------------------------------------------------------


def _accuracy_cell(row: LeaderboardRow, link: str) -> TableCell:
    published = published_text(row)
    note = f"published {published}" if published else ""
    if row["mean"] is None:
        reason = why_missing(row)
        return TableCell(
            shortened(reason, _LONGEST_REASON), reason, note, style="missing", link=link
        )
    if row["difference"] is not None:
        note += f" ({points(row['difference'])})"
    style: Literal["best", ""] = "best" if row["is_best"] else ""
    return TableCell(
        accuracy_text(row),
        title=f"by seed: {', '.join(map(percentage, row['per_seed']))}",
        note=note,
        count=headline_evidence(row, row["headline"] or "accuracy"),
        style=style,
        link=link,
        median=median_text(row["per_seed"]),
        collapsed=collapsed_text(row.get("collapsed", [])),
        cost=cost_text(passes_of(row), row["seconds"]) or DASH,
    )


def _trial_cells(row: LeaderboardRow, metrics: Sequence[MetricText], link: str) -> list[TableCell]:
    def cell(key: str, scale: float = 100, digits: int = 1, count: str = "") -> TableCell:
        mean, std = measured(row, f"{key}_mean"), measured(row, f"{key}_std")
        text = DASH if mean is None else marked(mean_and_std(mean, std, scale, digits), row)
        return TableCell(text, count=count, link=link if text != DASH else "")

    took, size = row["seconds"], row["peak_memory_bytes"]
    status = row["status"] if row["status"] != DONE else DASH
    return [
        *(cell(metric.key, count=headline_evidence(row, metric.key)) for metric in metrics),
        cell("conflict_detection_auroc", 1, 3),
        TableCell(status if took is None else marked(duration(took), row), value=took),
        TableCell(passes_text(passes_of(row)), value=row.get("images_forward")),
        TableCell(memory(size), value=size),
    ]
