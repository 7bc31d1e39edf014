"""The training pipeline, which is the same for every method."""

from debias_pipeline.pipelines.training.pipeline import create_pipeline

__all__ = ["create_pipeline"]
