"""95 % intervals of metrics: how far chance in the choice of images or seeds may move a value."""

from collections.abc import Sequence
from math import sqrt
from statistics import mean, stdev
from typing import Final

# The 0.975 quantile of the normal distribution.
_Z: Final = 1.959963984540054

Interval = tuple[float, float]


def wilson(fraction: float, images: float) -> Interval:
    """Return the Wilson score interval of a proportion.

    Source: Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", 1927.

    Args:
        fraction: of the images, in 0..1; for several seeds the mean, since they share the images.
        images: number of images, at least 1; of a weighted sample the effective number.
    """
    shrink = 1 + _Z**2 / images
    centre = (fraction + _Z**2 / (2 * images)) / shrink
    half = _Z / shrink * sqrt(fraction * (1 - fraction) / images + (_Z / (2 * images)) ** 2)
    return max(0.0, centre - half), min(1.0, centre + half)


def mean_of_groups(
    fractions: Sequence[float], images: Sequence[int], weights: Sequence[float] | None = None
) -> Interval:
    """Return an interval of the weighted mean of the accuracies of several groups.

    The Wilson intervals of the groups are combined. A bootstrap would give a group of one image no
    spread at all. Source: Zou & Donner, "Construction of confidence limits about effect measures: a
    general approach", 2008.

    Args:
        fractions: accuracy in each group.
        images: number of images in each group, at least 1.
        weights: of each group, with sum 1; by default each group is counted once.
    """
    weights = weights or [1 / len(fractions)] * len(fractions)
    mean = below = above = 0.0
    for fraction, count, weight in zip(fractions, images, weights, strict=True):
        low, high = wilson(fraction, count)
        mean += weight * fraction
        below += (weight * (fraction - low)) ** 2
        above += (weight * (high - fraction)) ** 2
    return mean - sqrt(below), mean + sqrt(above)


def auroc_interval(auroc: float, positives: float, negatives: float) -> Interval:
    """Return a score interval of an area under the ROC curve.

    Source: method 5 of Newcombe, "Confidence intervals for an effect size measure based on the
    Mann-Whitney statistic. Part 2", 2006. Unlike the usual standard error, it is not zero for a
    perfect ranking.

    Args:
        auroc: in 0..1.
        positives: number of images of one kind, at least 1; of a weighted sample the effective
            number.
        negatives: the same of the other kind.
    """
    weight = (positives + negatives) / 2 - 1

    def deviation(area: float) -> float:
        factor = 1 + weight * ((1 - area) / (2 - area) + area / (1 + area))
        return _Z * sqrt(max(0.0, area * (1 - area) * factor / (positives * negatives)))

    def crossing(inside: float, outside: float) -> float:
        for _ in range(60):
            middle = (inside + outside) / 2
            if abs(middle - auroc) <= deviation(middle):
                inside = middle
            else:
                outside = middle
        return inside

    return crossing(auroc, 0.0), crossing(auroc, 1.0)


def further_mean(values: Sequence[float], further: int) -> Interval | None:
    """Return the 95 % prediction interval of the mean over further seeds.

    It is mean ± t · s · √(1/n + 1/m): n values with standard deviation s, m further seeds, and the
    0.975 quantile t of Student's distribution with n − 1 degrees of freedom. Source: Hahn &
    Meeker, "Statistical Intervals", 1991, chapter 4.

    Args:
        values: one per seed.
        further: number of further seeds, at least 1.

    Returns:
        None for fewer than two values, which have no spread.
    """
    if len(values) < 2:
        return None
    # Imported here because it takes most of a second.
    from scipy.stats import t

    quantile = float(t.ppf(0.975, len(values) - 1))
    half = quantile * stdev(values) * sqrt(1 / len(values) + 1 / further)
    return mean(values) - half, mean(values) + half
