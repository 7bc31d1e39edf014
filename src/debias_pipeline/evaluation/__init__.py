"""Prediction and the metrics of biased data."""

from debias_pipeline.evaluation.metrics import (
    accuracies,
    conflict_detection_auroc,
    group_accuracy_table,
)
from debias_pipeline.evaluation.predict import Predictions, predict
from debias_pipeline.evaluation.selection import Selections
from debias_pipeline.evaluation.summary import (
    final_metrics,
    group_accuracy,
    prediction_table,
    summarise,
)
from debias_pipeline.evaluation.suspects import rank_suspects

__all__ = [
    "Predictions",
    "Selections",
    "accuracies",
    "conflict_detection_auroc",
    "final_metrics",
    "group_accuracy",
    "group_accuracy_table",
    "predict",
    "prediction_table",
    "rank_suspects",
    "summarise",
]
