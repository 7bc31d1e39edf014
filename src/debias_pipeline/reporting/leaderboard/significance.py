"""Whether the best method is better than the others by more than chance among seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

ALPHA = 0.05
TEST = "two-sided paired t-test over the seeds that both methods have"
CORRECTION = "Holm"

# Accuracies are counts over the images of a test split: differences that are the same for every
# seed differ by rounding alone, which the test would take for a tiny spread.
_NO_SPREAD = 1e-9


@dataclass(frozen=True)
class Comparison:
    """The best method against another.

    Attributes:
        method: the other.
        seeds: how many both have.
        difference: mean over those seeds of the best's figure less the other's; None without
            common seeds.
        p_value: of the test; None where it has no answer: fewer than two common seeds, or a
            difference that is the same for every seed and not nought.
        p_corrected: the p value, corrected for the number of comparisons.
    """

    method: str
    seeds: int
    difference: float | None
    p_value: float | None
    p_corrected: float | None


@dataclass(frozen=True)
class Verdict:
    """What the test says of the method with the highest mean.

    Attributes:
        best: the method with the highest mean; of several, the first by name.
        comparisons: with every other method that has figures.
    """

    best: str
    comparisons: tuple[Comparison, ...]

    @property
    def marked(self) -> bool:
        """Whether the best is better than every other beyond noise."""
        p_value = self.p_value
        return p_value is not None and p_value < ALPHA

    @property
    def p_value(self) -> float | None:
        """The largest corrected p value; None where a comparison, or all of them, has none."""
        p_values = [each.p_corrected for each in self.comparisons if each.p_corrected is not None]
        if not p_values or len(p_values) < len(self.comparisons):
            return None
        return max(p_values)


def find_best(figures: Mapping[str, Mapping[int, float]]) -> Verdict | None:
    """Compare the method of the highest mean with each of the others.

    The test is two-sided although only better counts, because which method is the best was read
    from the same figures. Replicas of one seed share their batches' order and, on one data set,
    its images: they are pairs.

    Args:
        figures: by method, its figure by seed; methods without figures are left out.

    Returns:
        What was found; None without any figures.
    """
    ranked = sorted(
        (name for name, by_seed in figures.items() if by_seed),
        key=lambda name: (-_mean(figures[name]), name),
    )
    if not ranked:
        return None
    best, *others = ranked
    raw = [_compare(figures[best], figures[other]) for other in others]
    # A comparison without an answer counts as one all the same.
    corrected = holm([1.0 if p_value is None else p_value for _, _, p_value in raw])
    return Verdict(
        best,
        tuple(
            Comparison(other, seeds, difference, p, None if p is None else p_corrected)
            for other, (seeds, difference, p), p_corrected in zip(
                others, raw, corrected, strict=True
            )
        ),
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """P values corrected for their number.

    Source: Holm, "A Simple Sequentially Rejective Multiple Test Procedure", 1979.

    Args:
        p_values: of one family of comparisons, in any order.

    Returns:
        The corrected values in the same order: the i-th smallest of n times n − i + 1, never less
        than a smaller one's, at most 1.
    """
    values: npt.NDArray[np.float64] = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    factors = np.arange(len(values), 0, -1)
    corrected = np.empty_like(values)
    corrected[order] = np.maximum.accumulate(values[order] * factors).clip(max=1)
    return [float(value) for value in corrected]


def _mean(by_seed: Mapping[int, float]) -> float:
    # Over sorted values: the order of seeds must not decide a tie by rounding.
    return float(np.mean(sorted(by_seed.values())))


def _compare(
    best: Mapping[int, float], other: Mapping[int, float]
) -> tuple[int, float | None, float | None]:
    """Common seeds, mean difference, p value."""
    seeds = sorted(best.keys() & other.keys())
    if not seeds:
        return 0, None, None
    mine = np.asarray([best[seed] for seed in seeds], dtype=np.float64)
    theirs = np.asarray([other[seed] for seed in seeds], dtype=np.float64)
    differences = mine - theirs
    difference = float(differences.mean())
    if len(seeds) < 2:
        return len(seeds), difference, None
    if float(np.ptp(differences)) < _NO_SPREAD:
        return len(seeds), difference, 1.0 if abs(difference) < _NO_SPREAD else None
    if difference <= 0:  # over the common seeds alone the other may be ahead
        return len(seeds), difference, 1.0
    # It takes most of a second to import, which every command would wait for.
    from scipy.stats import ttest_rel

    return len(seeds), difference, float(ttest_rel(mine, theirs).pvalue)
