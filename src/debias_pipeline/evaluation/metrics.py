"""Accuracies that tell whether a classifier follows the label or the bias.

A group is a (label, bias) cell. What cannot be computed (no bias labels, no such image) is NaN
here and null in the catalog's JSON.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd

from debias_pipeline.evaluation.predict import Predictions
from debias_pipeline.images import Split

METRIC_NAMES = (
    "accuracy",
    "group_balanced_accuracy",
    "aligned_accuracy",
    "conflicting_accuracy",
    "worst_group_accuracy",
)
# Of the branch that is meant to learn the bias: how far the bias alone gets.
BIAS_BRANCH_ACCURACY = "bias_branch_accuracy"
# Of the history only, so that docs/selection.md can warn of selecting by it.
WORST_CLASS_ACCURACY = "worst_class_accuracy"

Floats = npt.NDArray[np.float64]


def accuracies(predictions: Predictions, split: Split) -> Mapping[str, Floats]:
    """The metrics of METRIC_NAMES, as fractions, and of the bias branch where there is one.

    Args:
        predictions: of R replicas.
        split: the images predicted.

    Returns:
        name → float64, [R]. `accuracy` on the unbiased test split is the unbiased accuracy.
        `group_balanced_accuracy` is the mean and `worst_group_accuracy` the minimum over the
        groups that have images; WORST_CLASS_ACCURACY is the minimum over the labels.
        BIAS_BRANCH_ACCURACY is absent without a bias branch.
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
    """Accuracy of one replica in every (label, bias) cell.

    Args:
        predictions: [n], of one replica.
        split: the images predicted.
        labels: number of labels.
        biases: number of bias attribute values; 0 where bias is unknown.

    Returns:
        One row a cell: label, bias, images, correct, accuracy (NaN for an empty cell).
    """
    known = split.bias >= 0
    cells = split.labels[known] * biases + split.bias[known]
    images = np.bincount(cells, minlength=labels * biases)
    hits = np.bincount(
        cells, weights=(predictions == split.labels)[known], minlength=labels * biases
    ).astype(np.int64)
    label, bias = np.divmod(np.arange(labels * biases), max(biases, 1))
    accuracy = np.divide(hits, images, out=np.full(len(images), np.nan), where=images > 0)
    return pd.DataFrame(
        {"label": label, "bias": bias, "images": images, "correct": hits, "accuracy": accuracy}
    )


def conflict_detection_auroc(
    weights: npt.NDArray[np.float64], conflicting: npt.NDArray[np.int8]
) -> float:
    """How well the weights W tell bias-conflicting training images from bias-aligned ones.

    Args:
        weights: [n], NaN where a method weighs nothing.
        conflicting: [n]: 1, 0, or −1 where unknown.

    Returns:
        The area under the ROC curve, NaN where it can't be computed.
    """
    usable = (conflicting >= 0) & np.isfinite(weights)
    if len(np.unique(conflicting[usable])) < 2:
        return float("nan")
    # It takes more than a second to import, which every command would wait for.
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(conflicting[usable], weights[usable]))


def _group_accuracies(correct: npt.NDArray[np.bool_], split: Split) -> Floats:
    """Accuracy in each group that has images, [R, groups]; one column of NaN without any."""
    known = split.bias >= 0
    if not known.any():
        return np.full((len(correct), 1), np.nan)
    cells = split.labels[known] * (split.bias.max() + 1) + split.bias[known]
    _, cell_of_image, sizes = np.unique(cells, return_inverse=True, return_counts=True)
    hits = [np.bincount(cell_of_image, weights=row[known], minlength=len(sizes)) for row in correct]
    return np.asarray(hits) / sizes


def _mean_where(correct: npt.NDArray[np.bool_], chosen: npt.NDArray[np.bool_]) -> Floats:
    if not chosen.any():
        return np.full(len(correct), np.nan)
    return np.asarray(correct[:, chosen].mean(1))
