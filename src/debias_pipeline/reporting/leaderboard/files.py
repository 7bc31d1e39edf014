"""The leaderboard as CSV, Markdown and LaTeX files."""

from collections.abc import Callable, Iterable, Sequence

import pandas as pd

from debias_pipeline.names import DONE
from debias_pipeline.reporting.conditions import (
    BIAS_LABELS_EXPLAINED,
    COLLAPSED_EXPLAINED,
    COST_EXPLAINED,
    name_with_oracle,
)
from debias_pipeline.reporting.leaderboard.references import marked, references_in_words
from debias_pipeline.reporting.leaderboard.rows import (
    Leaderboard,
    LeaderboardRow,
    leaderboard_frame,
)
from debias_pipeline.reporting.leaderboard.sections import (
    RuleTable,
    Section,
    accuracy_text,
    explain_test,
    labels_of,
    passes_of,
    percent_name,
    published_text,
    sections,
)
from debias_pipeline.reporting.table_files import (
    escape_latex,
    escape_markdown,
    latex_table,
    markdown_table,
)
from debias_pipeline.reporting.text import duration, median_text, memory, passes_text, points
from debias_pipeline.spreadsheets import csv_text


def write_leaderboard_files(leaderboard: Leaderboard) -> dict[str, str]:
    """Return the text of the files of a leaderboard by name: all values, and tables for a paper."""
    return {
        "leaderboard.csv": csv_text(leaderboard_frame(leaderboard)),
        "leaderboard.md": write_leaderboard_markdown(leaderboard),
        "leaderboard.tex": write_leaderboard_latex(leaderboard),
    }


def _frame(
    section: Section,
    table: RuleTable,
    text_of: Callable[[LeaderboardRow], str],
    escape: Callable[[str], str],
) -> pd.DataFrame:
    """Return a table of methods by percents, whose second column has the bias labels used."""
    columns = ["method", "bias labels", *map(percent_name, section.percents)]
    rows = [
        [
            escape(name_with_oracle(method, method in table.oracles)),
            escape(labels_of(table, method)),
            *(text_of(row) if row else "" for row in rows),
        ]
        for method, rows in table.rows
    ]
    return pd.DataFrame(rows, columns=[escape(column) for column in columns])


# --- Markdown -------------------------------------------------------------------------------------


def write_leaderboard_markdown(leaderboard: Leaderboard) -> str:
    """Return the leaderboard as Markdown tables, methods by percents; text from data is escaped."""
    blocks = [block for section in sections(leaderboard) for block in _section_blocks(section)]
    return "\n\n".join([*blocks, escape_markdown(explain_test(leaderboard["test"]))]) + "\n"


def _section_blocks(section: Section) -> list[str]:
    collapsed = any(table.collapsed for table in section.tables)
    texts = (section.settings, section.warning, section.progress)
    lists = (section.recipe_banner, section.failures, [*section.references, *section.places])
    return [
        f"### {escape_markdown(section.name)}: {section.headline_name.lower()} in %",
        escape_markdown(" ".join(filter(None, texts))),
        *(_bullets(each) for each in lists if each),
        *(block for table in section.tables for block in _table_blocks(section, table)),
        "**cost**: time of training and evaluation of all seeds together, peak memory, and "
        f"{COST_EXPLAINED}",
        markdown_table(_frame(section, section.tables[0], _cost_text, escape_markdown)),
        escape_markdown(BIAS_LABELS_EXPLAINED),
        *([escape_markdown(COLLAPSED_EXPLAINED)] if collapsed else []),
    ]


def _table_blocks(section: Section, table: RuleTable) -> list[str]:
    blocks = [
        f"**{table.rule.name}**: {table.rule.description}",
        markdown_table(_frame(section, table, _accuracy_in_markdown, escape_markdown)),
        *(f"{escape_markdown(each)}." for each in (table.collapsed, table.unreliable) if each),
    ]
    if table.sources:
        sources = escape_markdown("; ".join(table.sources))
        blocks.append(
            "In brackets: the published accuracy and, with the published recipe, the difference "
            f"in points. {sources}."
        )
    if table.tested:
        blocks.append(
            _bullets(f"{percent}: {text}" if percent else text for percent, text in table.tested)
        )
    return blocks


def _bullets(texts: Iterable[str]) -> str:
    return "\n".join(f"- {escape_markdown(text)}" for text in texts)


def _accuracy_in_markdown(row: LeaderboardRow) -> str:
    published = published_text(row)
    if row["mean"] is None and row["status"] != DONE:
        text = f"*{row['status']}*"
    else:
        text = f"**{accuracy_text(row)}**" if row["is_best"] else accuracy_text(row)
    if middle := median_text(row["per_seed"]):
        text += f", {middle}"
    if row["difference"] is not None:
        published += f", {points(row['difference'])}"
    return f"{text} ({published})" if published else text


def _cost_text(row: LeaderboardRow) -> str:
    if row["seconds"] is None:
        return f"*{row['status']}*"
    text = f"{duration(row['seconds'])}, {memory(row['peak_memory_bytes'])}"
    passes = passes_of(row)
    return marked(f"{text}, {passes_text(passes)}" if passes else text, row)


# --- LaTeX ----------------------------------------------------------------------------------------


def write_leaderboard_latex(leaderboard: Leaderboard) -> str:
    """Return a LaTeX table for each data set and selection rule, methods by percents.

    The tables need the package booktabs. Text from data is escaped. The best method is bold where
    it is significantly better than every other.
    """
    test = explain_test(leaderboard["test"])
    tables = [
        latex_table(
            _frame(section, table, _accuracy_in_latex, escape_latex),
            _caption(section, table, test),
            f"{section.dataset}-{table.rule.key}",
        )
        for section in sections(leaderboard)
        for table in section.tables
    ]
    return "\n".join(["% \\usepackage{booktabs}", *tables])


def _caption(section: Section, table: RuleTable, test: str) -> str:
    shown: Sequence[LeaderboardRow] = [row for _, rows in table.rows for row in rows if row]
    notes = [
        f"{section.name}: {section.headline_name.lower()} in %, {table.rule.name} "
        f"({table.rule.description}).",
        section.settings,
        section.warning,
        *(f"{sentence}." for sentence in references_in_words(shown)),
        *(f"{each}." for each in (table.unreliable, table.collapsed) if each),
        *section.recipe_banner,
        f"{', '.join(table.oracles)}: not ranked." if table.oracles else "",
        f"Bold: {test}" if any(row["is_best"] for row in shown) else "",
    ]
    return " ".join(filter(None, notes))


def _accuracy_in_latex(row: LeaderboardRow) -> str:
    text = escape_latex(accuracy_text(row))
    return f"\\textbf{{{text}}}" if row["is_best"] else text
