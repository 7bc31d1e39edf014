"""Prediction and the metrics of biased data."""

from debias_pipeline.evaluation.data import ImageData, Split
from debias_pipeline.evaluation.metrics import (
    METRIC_NAMES,
    accuracies,
    conflict_detection_auroc,
    group_accuracy_table,
    harmonic_mean,
)
from debias_pipeline.evaluation.predict import predict

__all__ = [
    "METRIC_NAMES",
    "ImageData",
    "Split",
    "accuracies",
    "conflict_detection_auroc",
    "group_accuracy_table",
    "harmonic_mean",
    "predict",
]
