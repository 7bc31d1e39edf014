"""Prediction and the metrics of biased data."""

from debias_pipeline.evaluation.data import ImageData, Split
from debias_pipeline.evaluation.metrics import (
    BIAS_BRANCH_ACCURACY,
    METRIC_NAMES,
    accuracies,
    conflict_detection_auroc,
    group_accuracy_table,
)
from debias_pipeline.evaluation.predict import Predictions, predict
from debias_pipeline.evaluation.selection import Selections
from debias_pipeline.evaluation.summary import (
    CHECKPOINT_CHOICES,
    final_figures,
    group_accuracy,
    prediction_table,
    summarise,
)
from debias_pipeline.selection_rules import harmonic_mean

__all__ = [
    "BIAS_BRANCH_ACCURACY",
    "CHECKPOINT_CHOICES",
    "METRIC_NAMES",
    "ImageData",
    "Predictions",
    "Selections",
    "Split",
    "accuracies",
    "conflict_detection_auroc",
    "final_figures",
    "group_accuracy",
    "group_accuracy_table",
    "harmonic_mean",
    "predict",
    "prediction_table",
    "summarise",
]
