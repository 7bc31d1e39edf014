"""What happens around a run: checks before it, tracking, and a summary for people."""

from debias_pipeline.hooks.preflight import PreflightHooks
from debias_pipeline.hooks.snapshots import SnapshotHooks
from debias_pipeline.hooks.summary import SummaryHooks
from debias_pipeline.hooks.tracking import TrackingHooks

__all__ = ["PreflightHooks", "SnapshotHooks", "SummaryHooks", "TrackingHooks"]
