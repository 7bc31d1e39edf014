"""The predict pipeline: predict new images with a trained model."""

from debias_pipeline.pipelines.predict.pipeline import create_pipeline

__all__ = ["create_pipeline"]
