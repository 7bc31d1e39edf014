"""The training pipeline: train a method for all seeds."""

from debias_pipeline.pipelines.training.pipeline import create_pipeline

__all__ = ["create_pipeline"]
