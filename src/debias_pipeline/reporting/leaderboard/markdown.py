"""The leaderboard as Markdown, for READMEs and papers."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from debias_pipeline.reporting.formatting import points
from debias_pipeline.reporting.leaderboard.layout import Row, Section, Table, sections
from debias_pipeline.reporting.leaderboard.table import DONE
from debias_pipeline.reporting.leaderboard.wording import (
    duration,
    explain_test,
    figure_text,
    memory,
)


def write_leaderboard_table(leaderboard: Mapping[str, Any]) -> str:
    """Write the leaderboard as Markdown tables, methods by percents.

    Args:
        leaderboard: from `make_leaderboard`.

    Returns:
        Markdown; what comes from data is escaped.
    """
    blocks = [block for section in sections(leaderboard) for block in _section(section)]
    return "\n\n".join([*blocks, escaped(explain_test(leaderboard["test"]))]) + "\n"


def escaped(text: str) -> str:
    """Text that stays text: no Markdown, no HTML, no end of a table's cell or row."""
    return re.sub(r"([\\`*_\[\]<>|&#])", r"\\\1", " ".join(text.split()))


def _section(section: Section) -> list[str]:
    """Blocks, with an empty line between each and the next."""
    cost = [(method, [_cost(row) for row in rows]) for method, rows in section.tables[0].rows]
    return [
        f"### {escaped(section.dataset)}: {section.headline_name.lower()} in %",
        escaped(" ".join(filter(None, (section.settings, section.warning, section.progress)))),
        *([_bullets(section.failures)] if section.failures else []),
        *(block for table in section.tables for block in _table(section.percents, table)),
        "**cost**: time of training and judging all seeds together, and peak memory",
        _grid(section.percents, cost),
    ]


def _table(percents: Sequence[str], table: Table) -> list[str]:
    figures = [(method, [_figure(row) for row in rows]) for method, rows in table.rows]
    blocks = [
        f"**{table.protocol.name}**: {table.protocol.description}",
        _grid(percents, figures),
    ]
    if table.unreliable:
        blocks.append(f"{escaped(table.unreliable)}.")
    if table.published_sources:
        sources = escaped("; ".join(table.published_sources))
        blocks.append(
            f"In brackets: the published accuracy and the difference in points. {sources}."
        )
    if table.tested:
        blocks.append(_bullets(f"{percent}: {text}" for percent, text in table.tested))
    return blocks


def _bullets(texts: Iterable[str]) -> str:
    return "\n".join(f"- {escaped(text)}" for text in texts)


def _grid(percents: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]]) -> str:
    return "\n".join(
        [
            f"| method | {' | '.join(map(escaped, percents))} |",
            "|---|" + "---|" * len(percents),
            *(f"| {escaped(method)} | {' | '.join(cells)} |" for method, cells in rows),
        ]
    )


def _figure(row: Row | None) -> str:
    if row is None:
        return ""
    published = "" if row["published"] is None else f"{100 * row['published']:.2f}"
    if row["mean"] is None:
        hole = figure_text(row) if row["status"] == DONE else f"*{row['status']}*"
        return f"{hole} ({published})" if published else hole
    text = f"**{figure_text(row)}**" if row["is_best"] else figure_text(row)
    return f"{text} ({published}, {points(row['difference'])})" if published else text


def _cost(row: Row | None) -> str:
    if row is None:
        return ""
    if row["seconds"] is None:
        return f"*{row['status']}*"
    return f"{duration(row['seconds'])}, {memory(row['peak_memory_bytes'])}"
