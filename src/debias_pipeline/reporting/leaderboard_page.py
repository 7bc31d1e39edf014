"""The leaderboard as an HTML page and as Markdown."""

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, cast
from urllib.parse import quote

from debias_pipeline.names import DONE
from debias_pipeline.reporting.conditions import (
    BIAS_LABELS_EXPLAINED,
    COLLAPSED_EXPLAINED,
    COST_EXPLAINED,
    collapsed_text,
)
from debias_pipeline.reporting.index_page import LEADERBOARD
from debias_pipeline.reporting.leaderboard import Leaderboard, LeaderboardRow
from debias_pipeline.reporting.leaderboard_references import marked
from debias_pipeline.reporting.leaderboard_sections import (
    RuleTable,
    Section,
    accuracy_text,
    explain_test,
    headline_evidence,
    labels_of,
    passes_of,
    percent_name,
    progress_in_words,
    sections,
    why_missing,
)
from debias_pipeline.reporting.metric_table import (
    AUROC,
    MetricText,
    TableCell,
    metrics_with_headline_first,
)
from debias_pipeline.reporting.pages import data_address, render
from debias_pipeline.reporting.provenance import web_address
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
from debias_pipeline.selection_rules import SelectionRule

_LONGEST_REASON: Final = 60  # characters in a table cell; the whole text is above the tables

Cells = list[tuple[str, list[TableCell]]]

# --- HTML -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _SectionOfPage:
    """A data set on the page.

    Attributes:
        section: names and sentences of the section.
        figure: `data:` address of the figure, "" if there is none.
        accuracies: for each selection rule, a table with a row per method and a column per percent.
        costs: one table of the duration and memory of trials, with the same rows and columns.
        metrics: names and explanations of the columns of `all_metrics`.
        all_metrics: for each selection rule, a table with a row per trial: percent, method, and a
            table cell per metric.
        aurocs: one table of the AUROC, with the same rows and columns; empty if no method has one.
    """

    section: Section
    figure: str
    accuracies: list[tuple[RuleTable, Cells]]
    costs: Cells
    metrics: list[MetricText]
    all_metrics: list[tuple[SelectionRule, list[tuple[str, str, list[TableCell]]]]]
    aurocs: Cells


def write_leaderboard_page(
    leaderboard: Leaderboard,
    figures: Mapping[str, str],
    commands: Sequence[str],
    mlflow_ui: str = "",
) -> str:
    """Return the leaderboard as an HTML page that loads no other files.

    Args:
        leaderboard: from `make_leaderboard`.
        figures: SVG text by data set, from `draw_leaderboard_figures`.
        commands: run the grid again, and make the leaderboard again.
        mlflow_ui: address of MLflow's pages, to which values link; "" makes no links.

    Raises:
        UserError: if `mlflow_ui` is not the address of a web server.
    """
    base = web_address(mlflow_ui) if mlflow_ui else ""
    progress, parts = progress_in_words(leaderboard["rows"]), sections(leaderboard)
    return render(
        "leaderboard_page.html.jinja",
        about={
            "name": LEADERBOARD,
            "result": f"{', '.join(each.name for each in parts)}: {progress}",
        },
        progress=progress,
        sections=[_section_of_page(each, figures, base) for each in parts],
        test=explain_test(leaderboard["test"]),
        auroc_explained=AUROC,
        bias_labels_explained=BIAS_LABELS_EXPLAINED,
        cost_explained=COST_EXPLAINED,
        collapsed_explained=COLLAPSED_EXPLAINED,
        labels_of=labels_of,
        mlflow_ui=base,
        few_images=FEW_IMAGES,
        percent_name=percent_name,
        commands=commands,
    )


def run_link(row: LeaderboardRow, mlflow_ui: str) -> str:
    """Return the address of a row's MLflow run, "" if there is none."""
    experiment, run = row["mlflow_experiment_id"], row["mlflow_run_id"]
    if not mlflow_ui or not experiment or not run:
        return ""
    return f"{mlflow_ui}/#/experiments/{quote(experiment, safe='')}/runs/{quote(run, safe='')}"


def _section_of_page(
    section: Section, figures: Mapping[str, str], mlflow_ui: str
) -> _SectionOfPage:
    metrics = metrics_with_headline_first(section.headline.key, section.unbiased_test)

    def cells_of(table: RuleTable, cell: Callable[[LeaderboardRow, str], TableCell]) -> Cells:
        missing = TableCell("", style="missing")
        return [
            (method, [cell(row, run_link(row, mlflow_ui)) if row else missing for row in rows])
            for method, rows in table.rows
        ]

    return _SectionOfPage(
        section=section,
        figure=data_address(figures[section.dataset]) if section.dataset in figures else "",
        accuracies=[(table, cells_of(table, _accuracy_cell)) for table in section.tables],
        costs=cells_of(section.tables[0], _cost_cell),
        metrics=metrics,
        # It belongs to the training run, so one selection rule is enough.
        aurocs=cells_of(section.tables[0], _auroc_cell) if _has_auroc(section) else [],
        all_metrics=[
            (
                table.rule,
                [
                    (percent, method, _all_metrics(row, metrics, run_link(row, mlflow_ui)))
                    for position, percent in enumerate(section.percents)
                    for method, rows in table.rows
                    if (row := rows[position]) and row["mean"] is not None
                ],
            )
            for table in section.tables
        ],
    )


def _accuracy_cell(row: LeaderboardRow, link: str) -> TableCell:
    note = "" if row["published"] is None else f"published {100 * row['published']:.2f}"
    if row["mean"] is None:
        reason = why_missing(row)
        return TableCell(
            shortened(reason, _LONGEST_REASON), reason, note, style="missing", link=link
        )
    if row["difference"] is not None:
        note += f" ({points(row['difference'])})"
    by_seed = ", ".join(map(percentage, row["per_seed"]))
    title = f"by seed: {by_seed}"
    cost = cost_text(passes_of(row), row["seconds"]) or DASH
    count = headline_evidence(row, row["headline"] or "accuracy")
    style: Literal["best", ""] = "best" if row["is_best"] else ""
    return TableCell(
        accuracy_text(row),
        title,
        note,
        count,
        style,
        link,
        median_text(row["per_seed"]),
        collapsed_text(row.get("collapsed", [])),
        cost,
    )


def _cost_cell(row: LeaderboardRow, link: str) -> TableCell:
    if row["seconds"] is None:
        return TableCell(row["status"] if row["status"] != DONE else DASH, style="missing")
    return TableCell(
        marked(duration(row["seconds"]), row),
        note=memory(row["peak_memory_bytes"]),
        count=passes_text(passes_of(row)).replace(DASH, ""),
        link=link,
    )


def _all_metrics(row: LeaderboardRow, metrics: Sequence[MetricText], link: str) -> list[TableCell]:
    values = cast(Mapping[str, float | None], row)

    def cell(key: str) -> TableCell:
        mean, std = values[f"{key}_mean"], values[f"{key}_std"]
        text = marked(mean_and_std(mean, std), row)
        return TableCell(text, count=headline_evidence(row, key), link=link)

    return [cell(metric.key) for metric in metrics]


def _has_auroc(section: Section) -> bool:
    rows = (row for _, of_method in section.tables[0].rows for row in of_method)
    return any(row and row["conflict_detection_auroc_mean"] is not None for row in rows)


def _auroc_cell(row: LeaderboardRow, link: str) -> TableCell:
    mean, std = row["conflict_detection_auroc_mean"], row["conflict_detection_auroc_std"]
    return TableCell(marked(mean_and_std(mean, std, 1, 3), row), link=link)


# --- Markdown -------------------------------------------------------------------------------------


def write_leaderboard_table(leaderboard: Leaderboard) -> str:
    """Return the leaderboard as Markdown tables, methods by percents; text from data is escaped."""
    blocks = [block for section in sections(leaderboard) for block in _section_blocks(section)]
    return "\n\n".join([*blocks, _escaped(explain_test(leaderboard["test"]))]) + "\n"


def _escaped(text: str) -> str:
    """Return text on one line in which nothing is Markdown or HTML or ends a table cell."""
    return re.sub(r"([\\`*_\[\]<>|&#])", r"\\\1", " ".join(text.split()))


def _section_blocks(section: Section) -> list[str]:
    costs = [(method, [_cost_text(row) for row in rows]) for method, rows in section.tables[0].rows]
    return [
        f"### {_escaped(section.name)}: {section.headline_name.lower()} in %",
        _escaped(" ".join(filter(None, (section.settings, section.warning, section.progress)))),
        *([_bullets(section.recipe_banner)] if section.recipe_banner else []),
        *([_bullets(section.failures)] if section.failures else []),
        *([_bullets(notes)] if (notes := [*section.references, *section.places]) else []),
        *(block for table in section.tables for block in _table_blocks(section.percents, table)),
        "**cost**: time of training and evaluation of all seeds together, peak memory, and "
        f"{COST_EXPLAINED}",
        _grid(section.percents, costs),
        _escaped(BIAS_LABELS_EXPLAINED),
        *(
            [_escaped(COLLAPSED_EXPLAINED)]
            if any(each.collapsed for each in section.tables)
            else []
        ),
    ]


def _table_blocks(percents: Sequence[str], table: RuleTable) -> list[str]:
    texts = [(method, [_accuracy_in_markdown(row) for row in rows]) for method, rows in table.rows]
    labels = [labels_of(table, method) for method, _ in table.rows]
    blocks = [
        f"**{table.rule.name}**: {table.rule.description}",
        _grid(percents, texts, labels, table.oracles),
    ]
    if table.collapsed:
        blocks.append(f"{_escaped(table.collapsed)}.")
    if table.unreliable:
        blocks.append(f"{_escaped(table.unreliable)}.")
    if table.sources:
        sources = _escaped("; ".join(table.sources))
        blocks.append(
            f"In brackets: the published accuracy and the difference in points. {sources}."
        )
    if table.tested:
        blocks.append(
            _bullets(f"{percent}: {text}" if percent else text for percent, text in table.tested)
        )
    return blocks


def _bullets(texts: Iterable[str]) -> str:
    return "\n".join(f"- {_escaped(text)}" for text in texts)


def _grid(
    percents: Sequence[str],
    rows: Sequence[tuple[str, Sequence[str]]],
    labels: Sequence[str] = (),
    oracles: Collection[str] = (),
) -> str:
    """Return a table of methods by percents.

    Args:
        percents: names of the columns.
        rows: name of the method, and texts by percent.
        labels: bias labels of each row, for a last column; unknown ones leave it out.
        oracles: names of methods that are marked as oracles.
    """
    head = [_escaped(percent_name(each)) for each in percents]
    body = [
        [f"{_escaped(name)}{' (oracle)' if name in oracles else ''}", *texts]
        for name, texts in rows
    ]
    if any(labels):
        head.append("bias labels")
        body = [[*row, text] for row, text in zip(body, labels, strict=True)]
    return "\n".join(
        [
            f"| method | {' | '.join(head)} |",
            "|---|" + "---|" * len(head),
            *(f"| {' | '.join(row)} |" for row in body),
        ]
    )


def _accuracy_in_markdown(row: LeaderboardRow | None) -> str:
    if row is None:
        return ""
    published = "" if row["published"] is None else f"{100 * row['published']:.2f}"
    if row["mean"] is None:
        text = accuracy_text(row) if row["status"] == DONE else f"*{row['status']}*"
        return f"{text} ({published})" if published else text
    text = f"**{accuracy_text(row)}**" if row["is_best"] else accuracy_text(row)
    if middle := median_text(row["per_seed"]):
        text += f", {middle}"
    if row["difference"] is None:
        return text
    return f"{text} ({published}, {points(row['difference'])})"


def _cost_text(row: LeaderboardRow | None) -> str:
    if row is None:
        return ""
    if row["seconds"] is None:
        return f"*{row['status']}*"
    text = f"{duration(row['seconds'])}, {memory(row['peak_memory_bytes'])}"
    passes = passes_of(row)
    return marked(f"{text}, {passes_text(passes)}" if passes else text, row)
