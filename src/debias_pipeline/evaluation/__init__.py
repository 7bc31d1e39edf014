"""Prediction and the metrics of biased data."""

from debias_pipeline.evaluation.dead_units import FeatureUnits
from debias_pipeline.evaluation.feature_map import map_features
from debias_pipeline.evaluation.labelling import estimate_groups, images_to_label
from debias_pipeline.evaluation.metrics import (
    accuracies,
    conflict_detection_auroc,
    group_accuracy_table,
)
from debias_pipeline.evaluation.predict import Predictions, predict
from debias_pipeline.evaluation.saliency import explain
from debias_pipeline.evaluation.selection import Selections
from debias_pipeline.evaluation.summary import (
    final_metrics,
    group_accuracy,
    prediction_table,
    summarise,
)
from debias_pipeline.evaluation.suspects import first_suspects, rank_suspects

__all__ = [
    "FeatureUnits",
    "Predictions",
    "Selections",
    "accuracies",
    "conflict_detection_auroc",
    "estimate_groups",
    "explain",
    "final_metrics",
    "first_suspects",
    "group_accuracy",
    "group_accuracy_table",
    "images_to_label",
    "map_features",
    "predict",
    "prediction_table",
    "rank_suspects",
    "summarise",
]
