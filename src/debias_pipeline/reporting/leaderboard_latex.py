"""The leaderboard as LaTeX tables for a paper."""

from typing import Final

import pandas as pd

from debias_pipeline.reporting.leaderboard import Leaderboard, LeaderboardRow
from debias_pipeline.reporting.leaderboard_references import REFERENCE_MARK, references_in_words
from debias_pipeline.reporting.leaderboard_sections import (
    RuleTable,
    Section,
    accuracy_text,
    explain_test,
    labels_of,
    percent_name,
    sections,
)
from debias_pipeline.reporting.text import DASH, MINUS

_ESCAPES: Final = str.maketrans(
    {
        **{character: f"\\{character}" for character in "&%$#_{}"},
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        "±": r"$\pm$",
        DASH: "--",
        MINUS: "$-$",
    }
)


def write_leaderboard_latex(leaderboard: Leaderboard) -> str:
    """Return a LaTeX table for each data set and selection rule, methods by percents.

    The tables need the package booktabs. Text from data is escaped. The best method is bold where
    it is significantly better than every other.
    """
    tables = [
        _table(section, table, explain_test(leaderboard["test"]))
        for section in sections(leaderboard)
        for table in section.tables
    ]
    return "\n".join(["% \\usepackage{booktabs}", *tables])


def _table(section: Section, table: RuleTable, test: str) -> str:
    columns = [_escaped(percent_name(percent)) for percent in section.percents]
    frame = pd.DataFrame(
        [[_escaped(labels_of(table, method)), *map(_cell, rows)] for method, rows in table.rows],
        index=pd.Index([_escaped(method) for method, _ in table.rows], name="method"),
        columns=["bias labels", *columns],
    )
    shown = [row for _, rows in table.rows for row in rows if row]
    notes = [
        f"{section.name}: {section.headline_name.lower()} in %, {table.rule.name} "
        f"({table.rule.description}).",
        section.settings,
        section.warning,
        *(f"{sentence}." for sentence in references_in_words(shown)),
        f"{', '.join(table.oracles)}: not ranked." if table.oracles else "",
        f"Bold: {test}" if any(row["is_best"] for row in shown) else "",
    ]
    text: str = frame.reset_index().to_latex(
        index=False,
        escape=False,
        column_format="ll" + "r" * len(columns),
        caption=_escaped(" ".join(filter(None, notes))),
        label=f"tab:{section.dataset}-{table.rule.key}".replace("_", "-"),
        position="htbp",
    )
    return text


def _cell(row: LeaderboardRow | None) -> str:
    """Return the accuracy; the mark of a reference is raised."""
    if row is None:
        return ""
    text = _escaped(accuracy_text(row).removesuffix(REFERENCE_MARK))
    if row["reference"]:
        text += f"$^{{{REFERENCE_MARK}}}$"
    return f"\\textbf{{{text}}}" if row["is_best"] else text


def _escaped(text: str) -> str:
    """Return text on one line in which nothing is a command of LaTeX."""
    return " ".join(text.split()).translate(_ESCAPES)
