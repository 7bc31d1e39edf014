"""The words that every report uses: one place, so that page, figures and terminal agree."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from debias_pipeline.selection_rules import BEST_ON_TEST, MIN_SUPPORT, SELECTION_RULES

LEAK = BEST_ON_TEST.description
NO_SELECTION = "selecting a step needs bias labels on the validation split"
NO_PSEUDO_GROUPS = (
    "pseudo-groups need validation images that a biased network gets wrong and others that it gets "
    "right"
)


@dataclass(frozen=True)
class Metric:
    """A figure that judges a checkpoint.

    Attributes:
        key: its key in a checkpoint's metrics.
        name: for people.
        explanation: one sentence, without a full stop.
        needs: why it may be absent.
    """

    key: str
    name: str
    explanation: str
    needs: str


_NEEDS_BIAS_LABELS = "needs bias labels on the test split"
METRICS = (
    Metric(
        "accuracy",
        "Test accuracy",
        "accuracy on the test split",
        "was not measured",
    ),
    Metric(
        "group_balanced_accuracy",
        "Group-balanced",
        "mean of the accuracies of all groups, each counted once; a group is the images of one "
        "label and one bias attribute",
        _NEEDS_BIAS_LABELS + ", and images in every group",
    ),
    Metric(
        "aligned_accuracy",
        "Aligned",
        "accuracy on test images whose bias attribute is the one that usually goes with the label",
        _NEEDS_BIAS_LABELS,
    ),
    Metric(
        "conflicting_accuracy",
        "Conflicting",
        "accuracy on test images whose bias attribute is another one: "
        "what a model that learned the shortcut gets wrong",
        _NEEDS_BIAS_LABELS,
    ),
    Metric(
        "worst_group_accuracy",
        "Worst group",
        "accuracy in the group where it is lowest",
        _NEEDS_BIAS_LABELS + ", and images in every group",
    ),
)
_UNBIASED_ACCURACY = replace(
    METRICS[0],
    name="Unbiased accuracy",
    explanation="accuracy on the test split, in which the bias attribute is independent of the "
    "label",
)
METRIC_BY_KEY = {metric.key: metric for metric in METRICS}
AUROC = (
    "The chance that a bias-conflicting training image gets a higher mean weight W than a "
    "bias-aligned one: 0.5 is guessing, 1 is a perfect ranking."
)

BIAS_BRANCH = (
    "The bias branch is made to learn the shortcut; the method predicts with its other branch. So "
    "its accuracy shows how far the bias alone gets. Near the share of bias-aligned images, it has "
    "learned the bias and little else; far above that, it knows the label too, and the weights W "
    "tell less well what goes against the bias."
)


def metric_of(key: str, unbiased_test: bool | None) -> Metric:
    """Return a metric as it is called on one data set.

    Args:
        key: its key in a checkpoint's metrics.
        unbiased_test: whether label and bias are known to be independent in the test split, see
            `unbiased_test` in the catalog's metrics; only then accuracy there is called unbiased.
    """
    unbiased = key == _UNBIASED_ACCURACY.key and unbiased_test
    return _UNBIASED_ACCURACY if unbiased else METRIC_BY_KEY[key]


def metrics_with_headline_first(headline: str, unbiased_test: bool | None) -> list[Metric]:
    """Return all metrics, the one that published tables quote for the data set first."""
    keys = sorted(METRIC_BY_KEY, key=lambda key: key != headline)
    return [metric_of(key, unbiased_test) for key in keys]


def is_unreliable(checkpoint: Mapping[str, Any] | None) -> bool:
    """Return whether a checkpoint was selected by too few conflicting validation images."""
    # Metrics of earlier versions lack the key.
    return checkpoint is not None and checkpoint.get("reliable") is False


def unreliable_rules(metrics: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say which selection rules rest on too few conflicting validation images, a sentence each.

    Args:
        metrics: of each method on the same data set.
    """
    sentences = []
    for rule in SELECTION_RULES.values():
        counts = {
            of_method["method"]: support_in_words(checkpoint["support"]["per_seed"])
            for of_method in metrics
            if is_unreliable(checkpoint := of_method["checkpoints"].get(rule.key))
        }
        if not counts:
            continue
        if len(counts) == len(metrics) and len(set(counts.values())) == 1:
            text = next(iter(counts.values()))
        else:
            text = ", ".join(f"{count} ({method})" for method, count in counts.items())
        sentences.append(
            f"{rule.name}: unreliable, it rests on {text} conflicting validation images, fewer "
            f"than {MIN_SUPPORT}"
        )
    return sentences


def support_in_words(per_seed: Sequence[float]) -> str:
    """Return the number of images that a rule rests on, as "10" or "8 to 12"."""
    lowest, highest = min(per_seed), max(per_seed)
    return f"{lowest:.0f}" if lowest == highest else f"{lowest:.0f} to {highest:.0f}"
