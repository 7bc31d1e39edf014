"""The predict pipeline."""

from debias_pipeline.pipelines.predict.pipeline import create_pipeline

__all__ = ["create_pipeline"]
