"""Define, check, estimate and run the trials of the benchmark's grid."""

from debias_pipeline.grid.catalog import Catalog, load_or_none, resolve_catalog
from debias_pipeline.grid.checks import (
    check_outcomes,
    check_trials,
    check_typed,
    chosen_trials,
)
from debias_pipeline.grid.execution import ALL_DONE, LenientCatalog, explained, run_trial
from debias_pipeline.grid.leaderboard import grid_command
from debias_pipeline.grid.parameters import OVERRIDES, GridParameters, resolve_grid
from debias_pipeline.grid.pipeline import create_pipelines
from debias_pipeline.grid.plan import plan, plan_table
from debias_pipeline.grid.references import REFERENCES, file_name, make_reference
from debias_pipeline.grid.trials import (
    GRID_TAG,
    SETTING_ENTRIES,
    TRAINED_ENTRIES,
    TRIAL_ENTRIES,
    Trial,
    trials_of,
)

__all__ = [
    "ALL_DONE",
    "GRID_TAG",
    "OVERRIDES",
    "REFERENCES",
    "SETTING_ENTRIES",
    "TRAINED_ENTRIES",
    "TRIAL_ENTRIES",
    "Catalog",
    "GridParameters",
    "LenientCatalog",
    "Trial",
    "check_outcomes",
    "check_trials",
    "check_typed",
    "chosen_trials",
    "create_pipelines",
    "explained",
    "file_name",
    "grid_command",
    "load_or_none",
    "make_reference",
    "plan",
    "plan_table",
    "resolve_catalog",
    "resolve_grid",
    "run_trial",
    "trials_of",
]
