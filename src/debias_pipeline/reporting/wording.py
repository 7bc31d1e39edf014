"""The words that every report uses: one place, so that page, figures and terminal agree."""

from dataclasses import dataclass, replace

LEAK = "chosen on the test set, as published code does: for comparison with published tables only"


@dataclass(frozen=True)
class Protocol:
    """A way to pick the checkpoint that is judged.

    Attributes:
        key: its key in `metrics["checkpoints"]`.
        name: for people.
        description: one phrase.
    """

    key: str
    name: str
    description: str

    @property
    def leaks(self) -> bool:
        """Whether it looks at the test set."""
        return self.key == "best_on_test"


PROTOCOLS = (
    Protocol("last", "last", "the final training step: needs nothing, leaks nothing"),
    Protocol(
        "selected",
        "selected",
        "the step with the highest harmonic mean of aligned and conflicting accuracy "
        "on the validation split",
    ),
    Protocol("best_on_test", "best on test", LEAK),
)
NO_SELECTION = "selecting a step needs bias labels on the validation split"


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
