"""All cells of a grid side by side: as data, page, figure, Markdown and terminal table."""

from debias_pipeline.reporting.leaderboard.figure import draw_leaderboard_figures
from debias_pipeline.reporting.leaderboard.markdown import write_leaderboard_table
from debias_pipeline.reporting.leaderboard.page import write_leaderboard_page
from debias_pipeline.reporting.leaderboard.table import (
    CellResult,
    leaderboard_frame,
    make_leaderboard,
)
from debias_pipeline.reporting.leaderboard.terminal import leaderboard_tables

__all__ = [
    "CellResult",
    "draw_leaderboard_figures",
    "leaderboard_frame",
    "leaderboard_tables",
    "make_leaderboard",
    "write_leaderboard_page",
    "write_leaderboard_table",
]
