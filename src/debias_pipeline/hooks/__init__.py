"""Kedro hooks: check a run before it starts, track it in MLflow, and print a summary."""

from debias_pipeline.hooks.preflight import PreflightHooks
from debias_pipeline.hooks.snapshots import SnapshotHooks
from debias_pipeline.hooks.summary import SummaryHooks
from debias_pipeline.hooks.tracking import TrackingHooks

__all__ = ["PreflightHooks", "SnapshotHooks", "SummaryHooks", "TrackingHooks"]
