"""Paired t-tests over seeds between the method of the highest mean and the others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypedDict

import numpy as np
import numpy.typing as npt

from debias_pipeline.reporting.text import points

ALPHA: Final = 0.05
TEST: Final = "two-sided paired t-test over the seeds that both methods have"
CORRECTION: Final = "Holm"

# Differences that are the same for every seed still differ by rounding errors, which the test would
# treat as a tiny spread.
_NO_SPREAD: Final = 1e-9


class Comparison(TypedDict):
    """The method of the highest mean compared with another one.

    Attributes:
        method: the other method.
        seeds: number of seeds that both have.
        difference: mean over these seeds of the best method's value minus the other's; None
            without common seeds.
        p_value: p value of a paired t-test. None with fewer than two common seeds, or if the
            difference is the same for every seed and not zero; otherwise 1 if the difference is not
            positive.
        p_corrected: the p value, corrected by Holm's method for the number of comparisons; None
            without a p value.
    """

    method: str
    seeds: int
    difference: float | None
    p_value: float | None
    p_corrected: float | None


@dataclass(frozen=True)
class Verdict:
    """The result of the tests.

    Attributes:
        best: the method with the highest mean; of several, the first by name.
        comparisons: one with every other method that has values.
    """

    best: str
    comparisons: tuple[Comparison, ...]

    @property
    def marked(self) -> bool:
        """Return whether the best method is significantly better than every other."""
        p_value = self.p_value
        return p_value is not None and p_value < ALPHA

    @property
    def p_value(self) -> float | None:
        """Return the largest corrected p value; None if there is none, or if one is unknown."""
        p_values = [p for each in self.comparisons if (p := each["p_corrected"]) is not None]
        if not p_values or len(p_values) < len(self.comparisons):
            return None
        return max(p_values)


def find_best(values: Mapping[str, Mapping[Any, float]]) -> Verdict | None:
    """Compare the method of the highest mean with each of the others.

    The test is two-sided because the best method was found from the same values. Methods with the
    same seed share the order of batches, so their values are pairs.

    Args:
        values: method → seed → value; methods without values are ignored. Instead of seeds, the
            keys may be anything that is sorted and the same for values that form a pair.

    Returns:
        None without any values.
    """
    ranked = sorted(
        (name for name, by_seed in values.items() if by_seed),
        key=lambda name: (-_mean(values[name]), name),
    )
    if not ranked:
        return None
    best, *others = ranked
    comparisons = [_compare(values[best], other, values[other]) for other in others]
    # A comparison without a p value is counted, too.
    raw = [1.0 if each["p_value"] is None else each["p_value"] for each in comparisons]
    for each, p_corrected in zip(comparisons, holm(raw), strict=True):
        each["p_corrected"] = None if each["p_value"] is None else p_corrected
    return Verdict(best, tuple(comparisons))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p values corrected for their number.

    Source: Holm, "A Simple Sequentially Rejective Multiple Test Procedure", 1979.

    Args:
        p_values: p values of one family of comparisons, in any order.

    Returns:
        Corrected values in the same order: the i-th smallest of n is multiplied by n − i + 1, and
        is at least the corrected smaller ones and at most 1.
    """
    values: npt.NDArray[np.float64] = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    factors = np.arange(len(values), 0, -1)
    corrected = np.empty_like(values)
    corrected[order] = np.maximum.accumulate(values[order] * factors).clip(max=1)
    return [float(value) for value in corrected]


def verdict_in_words(best: str, is_best: bool, against: Sequence[Comparison]) -> str:
    """Return a sentence that says whether the best method is significantly better than the others.

    Args:
        best: the method of the highest mean.
        is_best: whether it is significantly better than every other.
        against: a comparison with each of the others.
    """
    if not against:
        return f"only {best} has values, so there is nothing to compare."
    if is_best:
        opening = f"{best} is significantly better than every other method"
    else:
        opening = f"{best} has the highest mean, but is not significantly better than every other"
    return f"{opening}: {'; '.join(map(_comparison_in_words, against))}."


def _comparison_in_words(comparison: Comparison) -> str:
    seeds, difference, p_value = (
        comparison["seeds"], comparison["difference"], comparison["p_corrected"]
    )  # fmt: skip
    if seeds < 2 or difference is None:
        return (
            f"not tested against {comparison['method']}, fewer than two common seeds on the same "
            "images"
        )
    text = f"{points(difference)} points against {comparison['method']} over {seeds} seeds, "
    if p_value is None:
        return text + "the same for each, so the test cannot be made"
    return text + f"corrected p {p_value_text(p_value)}"


def p_value_text(p_value: float) -> str:
    """Return a p value as text such as "= 0.031" or "< 0.001".

    It has more digits where rounding would turn a value below ALPHA into one that is not, or the
    reverse.
    """
    if p_value < 0.001:
        return "< 0.001"
    text = f"{p_value:.3f}"
    crosses = (float(text) < ALPHA) != (p_value < ALPHA)
    return f"= {p_value:.6g}" if crosses else f"= {text}"


def _mean(by_seed: Mapping[Any, float]) -> float:
    # Sorted, so that ties do not depend on the order of seeds by rounding errors.
    return float(np.mean(sorted(by_seed.values())))


def _compare(best: Mapping[Any, float], other_name: str, other: Mapping[Any, float]) -> Comparison:
    """Compare two methods by a paired t-test; `p_corrected` is left None."""
    seeds = sorted(best.keys() & other.keys())
    mine = np.asarray([best[seed] for seed in seeds], dtype=np.float64)
    theirs = np.asarray([other[seed] for seed in seeds], dtype=np.float64)
    return {
        "method": other_name,
        "seeds": len(seeds),
        "difference": float((mine - theirs).mean()) if seeds else None,
        "p_value": _p_value(mine, theirs),
        "p_corrected": None,
    }


def _p_value(mine: npt.NDArray[np.float64], theirs: npt.NDArray[np.float64]) -> float | None:
    """Return the p value of a paired t-test, see `Comparison`."""
    differences = mine - theirs
    if len(differences) < 2:
        return None
    difference = float(differences.mean())
    if float(np.ptp(differences)) < _NO_SPREAD:
        return 1.0 if abs(difference) < _NO_SPREAD else None
    if difference <= 0:  # the best has a higher mean over all its seeds, not over common seeds
        return 1.0
    # Imported here because it takes most of a second.
    from scipy.stats import ttest_rel

    return float(ttest_rel(mine, theirs).pvalue)
