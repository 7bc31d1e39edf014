"""Prediction and the metrics of biased data."""

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
    final_figures,
    group_accuracy,
    prediction_table,
    summarise,
)

__all__ = [
    "BIAS_BRANCH_ACCURACY",
    "METRIC_NAMES",
    "Predictions",
    "Selections",
    "accuracies",
    "conflict_detection_auroc",
    "final_figures",
    "group_accuracy",
    "group_accuracy_table",
    "predict",
    "prediction_table",
    "summarise",
]
