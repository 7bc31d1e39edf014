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
from debias_pipeline.intervals import Interval, mean_of_groups, wilson
from debias_pipeline.names import BIAS_BRANCH_ACCURACY, Metric
from debias_pipeline.records import Evidence

# Only in the history: docs/selection.md shows how bad a selection rule it is.
WORST_CLASS_ACCURACY = "worst_class_accuracy"

Floats = npt.NDArray[np.float64]


def accuracies(predictions: Predictions, split: Split) -> Mapping[str, Floats]:
    """Return the accuracies of R replicas on a split, as fractions; NaN where they are unknown.

    Args:
        predictions: of R replicas.
        split: the images predicted.

    Returns:
        name → float64, [R]: METRICS without `adjusted_average_accuracy`, WORST_CLASS_ACCURACY and,
        if there is a bias branch, BIAS_BRANCH_ACCURACY. `group_balanced_accuracy` is the mean and
        `worst_group_accuracy` the minimum over the groups that have images, WORST_CLASS_ACCURACY is
        the minimum over labels.
    """
    correct = predictions.labels == split.labels
    groups, _ = _group_accuracies(correct, split)
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


def adjusted_average_accuracy(
    predictions: Predictions, split: Split, train: Split | None
) -> Floats:
    """Return the mean of the accuracies of groups, weighted by their shares of training images.

    Papers print it as average accuracy where the test split has other shares of groups than the
    training split, as in Waterbirds: Sagawa et al., "Distributionally Robust Neural Networks for
    Group Shifts", ICLR 2020; in its public implementation it is the adjusted average accuracy.

    Args:
        predictions: of R replicas.
        split: the images predicted.
        train: the training split; None if there is none.

    Returns:
        float64, [R]; NaN if a training image has no bias label, or if there is a group of training
        images without an image in `split`.
    """
    shares = _training_shares(split, train)
    correct = predictions.labels == split.labels
    if shares is None:
        return np.full(len(correct), np.nan)
    groups, _ = _group_accuracies(correct, split)
    return np.asarray(groups @ shares)


def evidence(
    predictions: Predictions, split: Split, train: Split | None = None
) -> dict[Metric, Evidence]:
    """Return how many images each metric of a split rests on, and a 95 % interval of its mean.

    The intervals are about the choice of the images, not about the seeds: all seeds are evaluated
    on the same images. Metrics without any image are left out.

    Args:
        predictions: of R replicas.
        split: the images predicted.
        train: the training split; None if there is none.
    """
    correct = predictions.labels == split.labels
    found: dict[Metric, Evidence] = {}
    kinds: dict[Metric, npt.NDArray[np.bool_]] = {
        "accuracy": np.ones(len(split), dtype=bool),
        "aligned_accuracy": split.conflicting == 0,
        "conflicting_accuracy": split.conflicting == 1,
    }
    for metric, images in kinds.items():
        if count := int(images.sum()):
            found[metric] = _evidence(count, wilson(float(correct[:, images].mean()), count))
    groups, sizes = _group_accuracies(correct, split)
    if len(sizes):
        smallest = int(sizes.min())
        interval = mean_of_groups(groups.mean(0).tolist(), sizes.tolist())
        found["group_balanced_accuracy"] = _evidence(smallest, interval)
        shares = _training_shares(split, train)
        if shares is not None:
            weighted = shares > 0
            interval = mean_of_groups(
                groups.mean(0)[weighted].tolist(),
                sizes[weighted].tolist(),
                shares[weighted].tolist(),
            )
            smallest = int(sizes[weighted].min())
            found["adjusted_average_accuracy"] = _evidence(smallest, interval)
        lowest = groups.min(1)
        # Of several worst groups the largest is the strongest evidence.
        of_worst = min(
            int(sizes[row == low].max()) for row, low in zip(groups, lowest, strict=True)
        )
        found["worst_group_accuracy"] = _evidence(of_worst, wilson(float(lowest.mean()), of_worst))
    return found


def _evidence(images: int, interval: Interval) -> Evidence:
    return {"images": images, "low": interval[0], "high": interval[1]}


def group_accuracy_table(
    predictions: npt.NDArray[np.int64],
    split: Split,
    labels: int,
    biases: int,
    train: Split | None = None,
) -> pd.DataFrame:
    """Return the accuracy of one replica in every group.

    Args:
        predictions: [n], of one replica.
        split: the images predicted.
        labels: number of labels.
        biases: number of bias values; 0 if the bias is unknown.
        train: the training split; None if there is none.

    Returns:
        A row per group: label, bias, images, correct, accuracy (NaN for an empty group),
        train_images.
    """
    known = split.bias >= 0
    groups = split.labels[known] * biases + split.bias[known]
    images = np.bincount(groups, minlength=labels * biases)
    trained = np.zeros_like(images)
    if train is not None:
        labelled = train.bias >= 0
        of_train = train.labels[labelled] * biases + train.bias[labelled]
        trained += np.bincount(of_train, minlength=labels * biases)
    hits = np.bincount(
        groups, weights=(predictions == split.labels)[known], minlength=labels * biases
    ).astype(np.int64)
    label, bias = np.divmod(np.arange(labels * biases), max(biases, 1))
    accuracy = np.divide(hits, images, out=np.full(len(images), np.nan), where=images > 0)
    return pd.DataFrame(
        {
            "label": label,
            "bias": bias,
            "images": images,
            "correct": hits,
            "accuracy": accuracy,
            "train_images": trained,
        }
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


def _group_accuracies(
    correct: npt.NDArray[np.bool_], split: Split
) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Return accuracies of the groups that have images, [R, groups], and the groups' sizes.

    Without bias labels there is one column of NaN, and no size.
    """
    known = split.bias >= 0
    if not known.any():
        return np.full((len(correct), 1), np.nan), np.zeros(0, np.int64)
    groups = split.labels[known] * (split.bias.max() + 1) + split.bias[known]
    _, group_of_image, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    hits = [
        np.bincount(group_of_image, weights=row[known], minlength=len(sizes)) for row in correct
    ]
    return np.asarray(hits) / sizes, sizes


def _training_shares(split: Split, train: Split | None) -> Floats | None:
    """Return the shares of training images of the groups that have images in a split.

    They are in the order of `_group_accuracies` and have the sum 1. None if a training image has no
    bias label, or if a group with training images has no image in the split.
    """
    if train is None or (train.bias < 0).any():
        return None
    values = int(max(split.bias.max(), train.bias.max())) + 1
    known = split.bias >= 0
    groups = np.unique(split.labels[known] * values + split.bias[known])
    of_train = train.labels * values + train.bias
    if not np.isin(of_train, groups).all():
        return None
    counts = np.bincount(np.searchsorted(groups, of_train), minlength=len(groups))
    return np.asarray(counts / len(train))


def _mean_where(correct: npt.NDArray[np.bool_], images: npt.NDArray[np.bool_]) -> Floats:
    if not images.any():
        return np.full(len(correct), np.nan)
    return np.asarray(correct[:, images].mean(1))
