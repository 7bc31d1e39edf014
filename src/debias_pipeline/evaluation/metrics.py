"""Accuracies that show whether a classifier follows the label or the bias.

A group is a (label, bias) pair. Metrics that cannot be computed (no bias labels, no such image)
are NaN here and null in the catalog's JSON.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd

from debias_pipeline.evaluation.predict import Predictions
from debias_pipeline.images import Split
from debias_pipeline.names import BIAS_BRANCH_ACCURACY

# Only in the history: docs/selection.md shows how bad a selection rule it is.
WORST_CLASS_ACCURACY = "worst_class_accuracy"

Floats = npt.NDArray[np.float64]


def accuracies(predictions: Predictions, split: Split) -> Mapping[str, Floats]:
    """Return the accuracies of R replicas on a split, as fractions; NaN where they are unknown.

    Args:
        predictions: of R replicas.
        split: the images predicted.

    Returns:
        name → float64, [R]: METRICS, WORST_CLASS_ACCURACY and, if there is a bias branch,
        BIAS_BRANCH_ACCURACY. `group_balanced_accuracy` is the mean and `worst_group_accuracy` the
        minimum over the groups that have images, WORST_CLASS_ACCURACY is the minimum over labels.
    """
    correct = predictions.labels == split.labels
    groups = _group_accuracies(correct, split)
    metrics = {
        "accuracy": correct.mean(1),
        "group_balanced_accuracy": groups.mean(1),
        "aligned_accuracy": _mean_where(correct, split.conflicting == 0),
        "conflicting_accuracy": _mean_where(correct, split.conflicting == 1),
        "worst_group_accuracy": groups.min(1),
    }
    per_class = [correct[:, split.labels == label].mean(1) for label in np.unique(split.labels)]
    metrics[WORST_CLASS_ACCURACY] = np.min(per_class, axis=0)
    if predictions.bias_branch is not None:
        metrics[BIAS_BRANCH_ACCURACY] = (predictions.bias_branch == split.labels).mean(1)
    return metrics


def group_accuracy_table(
    predictions: npt.NDArray[np.int64], split: Split, labels: int, biases: int
) -> pd.DataFrame:
    """Return the accuracy of one replica in every group.

    Args:
        predictions: [n], of one replica.
        split: the images predicted.
        labels: number of labels.
        biases: number of bias values; 0 if the bias is unknown.

    Returns:
        A row per group: label, bias, images, correct, accuracy (NaN for an empty group).
    """
    known = split.bias >= 0
    groups = split.labels[known] * biases + split.bias[known]
    images = np.bincount(groups, minlength=labels * biases)
    hits = np.bincount(
        groups, weights=(predictions == split.labels)[known], minlength=labels * biases
    ).astype(np.int64)
    label, bias = np.divmod(np.arange(labels * biases), max(biases, 1))
    accuracy = np.divide(hits, images, out=np.full(len(images), np.nan), where=images > 0)
    return pd.DataFrame(
        {"label": label, "bias": bias, "images": images, "correct": hits, "accuracy": accuracy}
    )


def conflict_detection_auroc(
    weights: npt.NDArray[np.float64], conflicting: npt.NDArray[np.int8]
) -> float:
    """Return how well weights separate bias-conflicting from bias-aligned training images.

    Args:
        weights: [n], NaN if the method gives none.
        conflicting: [n]: 1, 0, or −1 if unknown.

    Returns:
        The area under the ROC curve, NaN if it cannot be computed.
    """
    usable = (conflicting >= 0) & np.isfinite(weights)
    if len(np.unique(conflicting[usable])) < 2:
        return float("nan")
    # Imported here, as it takes more than a second that every command would wait for.
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(conflicting[usable], weights[usable]))


def _group_accuracies(correct: npt.NDArray[np.bool_], split: Split) -> Floats:
    """Return accuracies of the groups that have images, [R, groups], or one column of NaN."""
    known = split.bias >= 0
    if not known.any():
        return np.full((len(correct), 1), np.nan)
    groups = split.labels[known] * (split.bias.max() + 1) + split.bias[known]
    _, group_of_image, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    hits = [
        np.bincount(group_of_image, weights=row[known], minlength=len(sizes)) for row in correct
    ]
    return np.asarray(hits) / sizes


def _mean_where(correct: npt.NDArray[np.bool_], images: npt.NDArray[np.bool_]) -> Floats:
    if not images.any():
        return np.full(len(correct), np.nan)
    return np.asarray(correct[:, images].mean(1))
