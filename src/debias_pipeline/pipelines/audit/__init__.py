"""The audit pipeline: test the data for a shortcut, and list the images that conflict with it."""

from debias_pipeline.pipelines.audit.pipeline import AUDIT, create_pipeline

__all__ = ["AUDIT", "create_pipeline"]
