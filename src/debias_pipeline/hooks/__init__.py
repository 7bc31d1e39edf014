"""Kedro hooks: check a run before it starts, track it in MLflow, and print a summary."""

from debias_pipeline.hooks.deferred import PreflightHooks, SummaryHooks, TrackingHooks
from debias_pipeline.hooks.snapshots import SnapshotHooks

__all__ = ["PreflightHooks", "SnapshotHooks", "SummaryHooks", "TrackingHooks"]
