"""Figures, tables and HTML pages as pure functions that neither read nor write files."""

from debias_pipeline.reporting.figures.charts import comparison_charts, method_charts
from debias_pipeline.reporting.figures.comparison_figures import draw_comparison_figures
from debias_pipeline.reporting.figures.gallery import misclassified
from debias_pipeline.reporting.figures.image_grids import draw_contact_sheet
from debias_pipeline.reporting.figures.method_figures import draw_figures
from debias_pipeline.reporting.leaderboard.charts import leaderboard_charts
from debias_pipeline.reporting.leaderboard.figures import draw_leaderboard_figures
from debias_pipeline.reporting.leaderboard.files import (
    write_leaderboard_files,
    write_leaderboard_latex,
    write_leaderboard_markdown,
)
from debias_pipeline.reporting.leaderboard.page import write_leaderboard_page
from debias_pipeline.reporting.leaderboard.rows import (
    Leaderboard,
    TrialResult,
    leaderboard_frame,
    make_leaderboard,
)
from debias_pipeline.reporting.metric_table import MethodResult
from debias_pipeline.reporting.pages.audit_report import write_audit_report
from debias_pipeline.reporting.pages.by_seed import confusions
from debias_pipeline.reporting.pages.comparison_report import write_comparison_report
from debias_pipeline.reporting.pages.feature_section import feature_section
from debias_pipeline.reporting.pages.index_page import (
    ABOUT_BYTES,
    AUDIT,
    COMPARISON,
    LEADERBOARD,
    PageGroup,
    StoredPage,
    read_about,
    write_index_page,
)
from debias_pipeline.reporting.pages.method_report import MethodSections, write_method_report
from debias_pipeline.reporting.pages.suspect_section import first_suspects_in_words, suspect_section
from debias_pipeline.reporting.recipe_changes import (
    RecipeChange,
    changes_in_words,
    find_recipe_changes,
)
from debias_pipeline.reporting.terminal import (
    estimates_text,
    headline_table,
    plain_table,
    terminal_leaderboard,
    tuning_table,
    verdict_text,
)
from debias_pipeline.reporting.text import (
    command,
    counted,
    data_command,
    duration,
    run_command,
    title_of,
    training_command,
    typed_params,
    with_shown_name,
)

__all__ = [
    "ABOUT_BYTES",
    "AUDIT",
    "COMPARISON",
    "LEADERBOARD",
    "Leaderboard",
    "MethodResult",
    "MethodSections",
    "PageGroup",
    "RecipeChange",
    "StoredPage",
    "TrialResult",
    "changes_in_words",
    "command",
    "comparison_charts",
    "confusions",
    "counted",
    "data_command",
    "draw_comparison_figures",
    "draw_contact_sheet",
    "draw_figures",
    "draw_leaderboard_figures",
    "duration",
    "estimates_text",
    "feature_section",
    "find_recipe_changes",
    "first_suspects_in_words",
    "headline_table",
    "leaderboard_charts",
    "leaderboard_frame",
    "make_leaderboard",
    "method_charts",
    "misclassified",
    "plain_table",
    "read_about",
    "run_command",
    "suspect_section",
    "terminal_leaderboard",
    "title_of",
    "training_command",
    "tuning_table",
    "typed_params",
    "verdict_text",
    "with_shown_name",
    "write_audit_report",
    "write_comparison_report",
    "write_index_page",
    "write_leaderboard_files",
    "write_leaderboard_latex",
    "write_leaderboard_markdown",
    "write_leaderboard_page",
    "write_method_report",
]
