"""Selection rules: which evaluation step of a training run a network is taken from.

`SELECTION_RULES` is the only list of them. Training keeps the networks that they select, and
metrics, tables and reports have one entry for each. docs/selection.md explains and compares them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

# With fewer bias-conflicting validation images, chance decides more than the networks do.
MIN_SUPPORT: Final = 30

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Evaluation:
    """What selection rules may use of one replica at one evaluation step.

    Attributes:
        step: number of training steps made so far.
        valid_aligned: accuracy on bias-aligned validation images, NaN if unknown.
        valid_conflicting: accuracy on bias-conflicting validation images, NaN if unknown.
        test: the headline metric of the test split, NaN if unknown.
        correct: [n], which validation images the replica predicts correctly.
    """

    step: int
    valid_aligned: float
    valid_conflicting: float
    test: float
    correct: Flags


@dataclass(frozen=True)
class Score:
    """How good an evaluation step is by a selection rule.

    Attributes:
        value: higher is better; NaN if the rule cannot tell.
        error: standard error of `value`; 0 for a rule that ignores chance.
    """

    value: float
    error: float = 0.0

    def is_reached_by(self, later: "Score") -> bool:
        """Return whether a later step has a higher score, or one that is lower only by chance."""
        return later.value > self.value - self.error


@dataclass(frozen=True)
class SelectionRule:
    """A rule that selects one of the evaluation steps of a training run.

    Attributes:
        key: its key in metrics, checkpoints and predictions.
        name: for people.
        description: one phrase, for people.
        needs: what it needs besides the training run itself.
        score: scores an evaluation step, given which validation images are pseudo-aligned, [n].
            The first step with the highest score is selected or, if scores have an error, the
            latest step that reaches it. None selects the final step.
    """

    key: str
    name: str
    description: str
    needs: Literal["nothing", "bias labels of the validation split", "the test split"]
    score: Callable[[Evaluation, Flags], Score] | None = None

    @property
    def leaks(self) -> bool:
        """Whether the rule uses the test split, so that its test metrics are too high."""
        return self.needs == "the test split"


def harmonic_mean(aligned: float, conflicting: float) -> float:
    """Harmonic mean of two accuracies: 0 where both are 0, NaN where either is NaN."""
    total = aligned + conflicting
    return 2 * aligned * conflicting / total if total else 0.0


def group_score(correct: Flags, aligned: Flags) -> Score:
    """Harmonic mean of the accuracies on aligned and on conflicting images, with its error.

    Args:
        correct: [n], which images are predicted correctly.
        aligned: [n], the other images are conflicting.

    Returns:
        NaN if there is no aligned or no conflicting image.
    """
    groups = (correct[aligned], correct[~aligned])
    if not all(map(len, groups)):
        return Score(float("nan"))
    first, second = (float(group.mean()) for group in groups)
    if not first + second:
        return Score(0.0)
    # Error propagation: the derivative by one accuracy is 2 (other / sum)².
    slopes = (2 * (second / (first + second)) ** 2, 2 * (first / (first + second)) ** 2)
    variance = sum(
        slope**2 * _variance_of_mean(group) for slope, group in zip(slopes, groups, strict=True)
    )
    return Score(harmonic_mean(first, second), float(np.sqrt(variance)))


def _variance_of_mean(correct: Flags) -> float:
    """Return the variance of an accuracy; one success and one failure are added, so it is > 0."""
    share = (float(correct.sum()) + 1) / (len(correct) + 2)
    return share * (1 - share) / len(correct)


LAST: Final = SelectionRule(
    key="last",
    name="last",
    description="the final training step: needs nothing, leaks nothing",
    needs="nothing",
)
SELECTED: Final = SelectionRule(
    key="selected",
    name="selected",
    description=(
        "the step with the highest harmonic mean of aligned and conflicting accuracy on the "
        "validation split"
    ),
    needs="bias labels of the validation split",
    score=lambda evaluation, _: Score(
        harmonic_mean(evaluation.valid_aligned, evaluation.valid_conflicting)
    ),
)
PSEUDO_GROUPS: Final = SelectionRule(
    key="pseudo_groups",
    name="pseudo-groups",
    description=(
        "needs no bias labels: the latest step within one standard error of the highest harmonic "
        "mean of accuracies on the validation images that a biased network gets right and on those "
        "that it gets wrong"
    ),
    needs="nothing",
    score=lambda evaluation, aligned: group_score(evaluation.correct, aligned),
)
BEST_ON_TEST: Final = SelectionRule(
    key="best_on_test",
    name="best on test",
    description=(
        "chosen on the test set, as published code does: for comparison with published tables only"
    ),
    needs="the test split",
    score=lambda evaluation, _: Score(evaluation.test),
)

SELECTION_RULES: Final[Mapping[str, SelectionRule]] = {
    rule.key: rule for rule in (LAST, SELECTED, PSEUDO_GROUPS, BEST_ON_TEST)
}
