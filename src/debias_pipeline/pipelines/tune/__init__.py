"""The pipeline `tune`: search the ranges of recipes on the validation split."""

from debias_pipeline.pipelines.tune.pipeline import create_pipeline

__all__ = ["create_pipeline"]
