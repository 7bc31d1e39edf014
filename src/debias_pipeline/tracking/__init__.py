"""Track runs in MLflow; a failure of MLflow does not stop a run.

Values are first written to a journal on disk, from which a thread sends them to MLflow. Importing
this package does not import MLflow, which takes long: the thread does when training has started.
"""

from debias_pipeline.tracking.active import (
    MethodRun,
    StepMetrics,
    active_parent,
    active_run,
    end_method_run,
    end_run,
    end_running_children,
    killed_when_interrupted,
    method_run,
    parent_elsewhere,
    resumed_parent,
    start_run,
    trial_run,
)
from debias_pipeline.tracking.description import NOTE, describe
from debias_pipeline.tracking.journal import FAILED, FINISHED, PENDING_FOLDER
from debias_pipeline.tracking.run import Dataset, ParentRun, TrackedRun
from debias_pipeline.tracking.sender import reason, send_abandoned
from debias_pipeline.tracking.settings import (
    Destination,
    MlflowSettings,
    credentials_of,
    destination_of,
    mlflow_settings,
)
from debias_pipeline.tracking.tracking_uri import set_tracking_uri

__all__ = [
    "FAILED",
    "FINISHED",
    "NOTE",
    "PENDING_FOLDER",
    "Dataset",
    "Destination",
    "MethodRun",
    "MlflowSettings",
    "ParentRun",
    "StepMetrics",
    "TrackedRun",
    "active_parent",
    "active_run",
    "credentials_of",
    "describe",
    "destination_of",
    "end_method_run",
    "end_run",
    "end_running_children",
    "killed_when_interrupted",
    "method_run",
    "mlflow_settings",
    "parent_elsewhere",
    "reason",
    "resumed_parent",
    "send_abandoned",
    "set_tracking_uri",
    "start_run",
    "trial_run",
]
