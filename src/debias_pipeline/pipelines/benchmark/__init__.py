"""The benchmark pipeline: the whole grid."""

from debias_pipeline.pipelines.benchmark.dry_run import plan, plan_table
from debias_pipeline.pipelines.benchmark.pipeline import GRID_TAG, create_pipeline
from debias_pipeline.pipelines.benchmark.preflight import (
    GRID_PIPELINES,
    check_cells,
    check_outcomes,
    check_typed,
    chosen_cells,
)

__all__ = [
    "GRID_PIPELINES",
    "GRID_TAG",
    "check_cells",
    "check_outcomes",
    "check_typed",
    "chosen_cells",
    "create_pipeline",
    "plan",
    "plan_table",
]
