"""The audit pipeline: is there a shortcut in the data, and which images show it?"""

from debias_pipeline.pipelines.audit.pipeline import AUDIT, create_pipeline

__all__ = ["AUDIT", "create_pipeline"]
