"""The benchmark pipeline: the whole grid."""

from debias_pipeline.pipelines.benchmark.pipeline import create_pipeline

__all__ = ["create_pipeline"]
