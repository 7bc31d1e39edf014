"""Selection rules: each selects one evaluation step of a training run.

`SELECTION_RULES` lists all of them. Training keeps the networks of the selected steps, and metrics,
tables and reports have an entry for each rule. docs/selection.md explains and compares them.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

# With fewer bias-conflicting validation images, a rule depends on chance too much.
MIN_SUPPORT: Final = 30

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Evaluation:
    """Results of one replica at one evaluation step, for selection rules.

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
class SelectionRule:
    """A rule that selects one evaluation step of a training run.

    Attributes:
        key: its key in metrics, checkpoints and predictions.
        name: for reports.
        description: one phrase, for reports.
        needs: what it needs in addition to the training run.
        score: scores an evaluation step, given which validation images are pseudo-aligned, [n].
            The first step with the highest score is selected; NaN is never the highest. None
            selects the final step.
        chance: if given, the latest step is selected whose score is lower than the highest by less
            than this, given `Evaluation.correct` of both and the pseudo-aligned images.
    """

    key: str
    name: str
    description: str
    needs: Literal["nothing", "bias labels of the validation split", "the test split"]
    score: Callable[[Evaluation, Flags], float] | None = None
    chance: Callable[[Flags, Flags, Flags], float] | None = None

    @property
    def leaks(self) -> bool:
        """Whether the rule uses the test split, so that its test metrics are too high."""
        return self.needs == "the test split"


def harmonic_mean(aligned: float, conflicting: float) -> float:
    """Return the harmonic mean of two accuracies: 0 if both are 0, NaN if one is NaN."""
    total = aligned + conflicting
    return 2 * aligned * conflicting / total if total else 0.0


def group_score(correct: Flags, aligned: Flags) -> float:
    """Return the harmonic mean of the accuracies on aligned and on conflicting images.

    Args:
        correct: [n], which images are predicted correctly.
        aligned: [n], the other images are conflicting.

    Returns:
        NaN if there is no aligned or no conflicting image.
    """
    return harmonic_mean(_mean(correct[aligned]), _mean(correct[~aligned]))


def chance_of_group_score(best: Flags, later: Flags, aligned: Flags) -> float:
    """Return by how much two group scores on the same images may differ by chance.

    Args:
        best: [n], which images one network predicts correctly.
        later: [n], those of the other network.
        aligned: see `group_score`; there are aligned and conflicting images.

    Returns:
        Two standard errors of the difference, by error propagation; images on which the networks
        agree do not add to it.
    """
    variance = 0.0
    for group in (aligned, ~aligned):
        slope = sum(_slope(correct, group) for correct in (best, later)) / 2
        differences = later[group].astype(float) - best[group]
        variance += slope**2 * float(differences.var()) / len(differences)
    return 2 * math.sqrt(variance)


def _slope(correct: Flags, group: Flags) -> float:
    """Return the derivative of the harmonic mean by the accuracy on one of the groups."""
    mine, other = _mean(correct[group]), _mean(correct[~group])
    return 2 * (other / (mine + other)) ** 2 if mine + other else 0.0


def _mean(correct: Flags) -> float:
    return float(correct.mean()) if len(correct) else float("nan")


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
    score=lambda evaluation, _: harmonic_mean(
        evaluation.valid_aligned, evaluation.valid_conflicting
    ),
)
PSEUDO_GROUPS: Final = SelectionRule(
    key="pseudo_groups",
    name="pseudo-groups",
    description=(
        "needs no bias labels: the latest step that is not worse than the best one beyond chance, "
        "by the harmonic mean of accuracies on the validation images that a biased network gets "
        "right and on those that it gets wrong"
    ),
    needs="nothing",
    score=lambda evaluation, aligned: group_score(evaluation.correct, aligned),
    chance=chance_of_group_score,
)
BEST_ON_TEST: Final = SelectionRule(
    key="best_on_test",
    name="best on test",
    description=(
        "chosen on the test set, as published code does: for comparison with published tables only"
    ),
    needs="the test split",
    score=lambda evaluation, _: evaluation.test,
)

SELECTION_RULES: Final[Mapping[str, SelectionRule]] = {
    rule.key: rule for rule in (LAST, SELECTED, PSEUDO_GROUPS, BEST_ON_TEST)
}
