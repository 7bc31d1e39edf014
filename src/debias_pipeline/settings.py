"""Project settings read by Kedro."""

from omegaconf.resolvers import oc

from debias_pipeline.config_loader import ProjectConfigLoader
from debias_pipeline.hooks import PreflightHooks, SnapshotHooks, SummaryHooks, TrackingHooks
from debias_pipeline.plugins import defer_commands_of_kedro_mlflow
from debias_pipeline.run_catalog import RunCatalog

defer_commands_of_kedro_mlflow()

DATA_CATALOG_CLASS = RunCatalog
HOOKS = (PreflightHooks(), TrackingHooks(), SnapshotHooks(), SummaryHooks())
CONFIG_LOADER_CLASS = ProjectConfigLoader
CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "local",
    "config_patterns": {"mlflow": ["mlflow*", "mlflow*/**", "**/mlflow*"]},
    # mlflow.yml reads MLFLOW_TRACKING_URI.
    "custom_resolvers": {"oc.env": oc.env},
    # An environment contains what differs; Kedro's default would replace all of `benchmark`.
    "merge_strategy": {"parameters": "soft", "mlflow": "soft"},
}
