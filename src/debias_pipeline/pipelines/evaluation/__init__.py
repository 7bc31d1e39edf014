"""The evaluation pipeline: predict the test split and compute metrics."""

from debias_pipeline.pipelines.evaluation.pipeline import (
    FROM_SUSPECTS,
    PRETRAINED,
    create_pipeline,
    create_pretrained_pipeline,
    lists_suspects,
)

__all__ = [
    "FROM_SUSPECTS",
    "PRETRAINED",
    "create_pipeline",
    "create_pretrained_pipeline",
    "lists_suspects",
]
