"""From tables to figures to self-contained HTML: pure functions, no files, no network."""

from debias_pipeline.reporting.comparison_figures import draw_comparison_figures
from debias_pipeline.reporting.comparison_report import write_comparison_report
from debias_pipeline.reporting.contact_sheet import draw_contact_sheet
from debias_pipeline.reporting.method_figures import draw_figures
from debias_pipeline.reporting.method_report import write_method_report
from debias_pipeline.reporting.run_command import command, run_command
from debias_pipeline.reporting.terminal import headline_table

__all__ = [
    "command",
    "draw_comparison_figures",
    "draw_contact_sheet",
    "draw_figures",
    "headline_table",
    "run_command",
    "write_comparison_report",
    "write_method_report",
]
