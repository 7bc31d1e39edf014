"""Project settings read by Kedro."""

from debias_pipeline.hooks import PreflightHooks, SummaryHooks, TrackingHooks
from debias_pipeline.parameters import ProjectConfigLoader

HOOKS = (PreflightHooks(), TrackingHooks(), SummaryHooks())
CONFIG_LOADER_CLASS = ProjectConfigLoader
CONFIG_LOADER_ARGS = {"base_env": "base", "default_run_env": "local"}
