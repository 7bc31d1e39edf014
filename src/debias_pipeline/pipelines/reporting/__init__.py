"""The reporting pipeline: draw figures and write HTML reports."""

from debias_pipeline.pipelines.reporting.pipeline import create_comparison, create_pipeline
from debias_pipeline.pipelines.reporting.results import data_changes, method_result

__all__ = ["create_comparison", "create_pipeline", "data_changes", "method_result"]
