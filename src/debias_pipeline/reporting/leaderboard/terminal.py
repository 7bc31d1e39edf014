"""The table that a user sees after a grid has run."""

from collections.abc import Mapping
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from debias_pipeline.reporting.leaderboard.layout import Row, Section, sections
from debias_pipeline.reporting.leaderboard.table import DONE
from debias_pipeline.reporting.leaderboard.wording import figure_text, progress_in_words
from debias_pipeline.reporting.rich_table import plain_table
from debias_pipeline.reporting.wording import LEAK
from debias_pipeline.selection_rules import MIN_SUPPORT


def leaderboard_tables(leaderboard: Mapping[str, Any]) -> Group:
    """Every data set's headline by checkpoint and method, in per cent.

    Args:
        leaderboard: from `make_leaderboard`.

    Returns:
        A table per data set; four percents fit 80 columns.
    """
    parts: list[Table | Text] = []
    for section in sections(leaderboard):
        # As a caption of the table it would be as narrow as a table of one percent.
        parts += [_table(section), _caption(section)]
    return Group(*parts, Text(progress_in_words(leaderboard["rows"])))


def _table(section: Section) -> Table:
    table = plain_table(f"{section.dataset}: {section.headline_name.lower()} in %")
    table.add_column("Checkpoint")
    table.add_column("Method", style="bold", overflow="fold", min_width=7)
    for percent in section.percents:
        table.add_column(Text(percent), justify="right")
    for of_protocol in section.tables:
        name = of_protocol.protocol.name + ("*" if of_protocol.protocol.leaks else "")
        for place, (method, rows) in enumerate(of_protocol.rows):
            table.add_row("" if place else name, Text(method), *map(_figure, rows))
            if of_protocol.published_sources:
                table.add_row("", "published†", *map(_published, rows), style="dim")
        table.add_section()
    return table


def _figure(row: Row | None) -> Text:
    if row is None:
        return Text("")
    if row["mean"] is None:
        return Text(figure_text(row) if row["status"] == DONE else row["status"], style="dim")
    return Text(figure_text(row) + "‡", style="bold") if row["is_best"] else Text(figure_text(row))


def _published(row: Row | None) -> str:
    return "" if row is None or row["published"] is None else f"{100 * row['published']:.2f}"


def _caption(section: Section) -> Text:
    rows = [row for table in section.tables for _, of_method in table.rows for row in of_method]
    lines = ["± is the standard deviation over seeds.", f"* {LEAK}"]
    # A sentence for each table would be longer than the tables.
    if any(table.unreliable for table in section.tables):
        images = f"fewer than {MIN_SUPPORT} conflicting validation images"
        lines.append(f"? unreliable: rests on {images}; see the page")
    sources = [source for table in section.tables for source in table.published_sources]
    lines += [f"† {source}" for source in dict.fromkeys(sources)]
    if any(row is not None and row["is_best"] for row in rows):
        lines.append("‡ best beyond noise: paired t-test over seeds, corrected; see the page")
    return Text(
        "\n".join([*lines, *filter(None, [section.warning]), *section.failures]), style="dim"
    )
