"""The evaluation pipeline: predict the test split and compute metrics."""

from debias_pipeline.pipelines.evaluation.pipeline import (
    PRETRAINED,
    create_pipeline,
    create_pretrained_pipeline,
)

__all__ = ["PRETRAINED", "create_pipeline", "create_pretrained_pipeline"]
