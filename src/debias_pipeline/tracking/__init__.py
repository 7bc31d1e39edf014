"""Tracking of runs in MLflow, which never stops a run: values go to disk first, then to MLflow."""

from debias_pipeline.tracking.records import PENDING_FOLDER
from debias_pipeline.tracking.runs import (
    FAILED,
    FINISHED,
    KILLED,
    ParentRun,
    StepMetrics,
    TrackedRun,
    active_parent,
    active_run,
    active_run_id,
    cell_run,
    close_stale_run,
    end_run,
    end_running_children,
    killed_when_interrupted,
    log_history,
    parent_elsewhere,
    resumed_parent,
    start_run,
)
from debias_pipeline.tracking.sender import reason, send_abandoned
from debias_pipeline.tracking.settings import (
    credentials_of,
    destination_of,
    mlflow_config,
    set_tracking_uri,
)
from debias_pipeline.tracking.store import DEFAULT_STORE, SQLITE, Destination, Store

__all__ = [
    "DEFAULT_STORE",
    "FAILED",
    "FINISHED",
    "KILLED",
    "PENDING_FOLDER",
    "SQLITE",
    "Destination",
    "ParentRun",
    "StepMetrics",
    "Store",
    "TrackedRun",
    "active_parent",
    "active_run",
    "active_run_id",
    "cell_run",
    "close_stale_run",
    "credentials_of",
    "destination_of",
    "end_run",
    "end_running_children",
    "killed_when_interrupted",
    "log_history",
    "mlflow_config",
    "parent_elsewhere",
    "reason",
    "resumed_parent",
    "send_abandoned",
    "set_tracking_uri",
    "start_run",
]
