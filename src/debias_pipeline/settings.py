"""Project settings read by Kedro."""

from debias_pipeline.config_loader import ProjectConfigLoader
from debias_pipeline.hooks import PreflightHooks, SnapshotHooks, SummaryHooks, TrackingHooks
from debias_pipeline.outdated import RunCatalog

DATA_CATALOG_CLASS = RunCatalog
HOOKS = (PreflightHooks(), TrackingHooks(), SnapshotHooks(), SummaryHooks())
CONFIG_LOADER_CLASS = ProjectConfigLoader
CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "local",
    # An environment says what differs; Kedro's default would have it say all of `benchmark`.
    "merge_strategy": {"parameters": "soft"},
}
