import pytest

from debias_pipeline.intervals import auroc_interval, further_mean, mean_of_groups, wilson


@pytest.mark.parametrize(
    ("fraction", "images", "interval"),
    # By the formula for 0 and 1: n / (n + z²) and z² / (n + z²).
    [
        (1.0, 2, (0.3424, 1.0)),
        (0.0, 10, (0.0, 0.2775)),
        (0.5, 10, (0.2366, 0.7634)),
    ],
)
def test_wilson(fraction: float, images: int, interval: tuple[float, float]) -> None:
    assert wilson(fraction, images) == pytest.approx(interval, abs=1e-4)


def test_the_mean_of_one_group_is_that_group() -> None:
    assert mean_of_groups([0.5], [10]) == pytest.approx(wilson(0.5, 10))


def test_a_group_of_one_image_widens_the_interval_of_the_mean() -> None:
    low, high = mean_of_groups([1.0, 1.0], [1000, 1])
    assert high == pytest.approx(1.0)
    assert low < 0.65


def test_the_interval_of_a_perfect_ranking_is_not_empty() -> None:
    low, high = auroc_interval(1.0, 2, 40)
    assert (low < 0.8, high) == (True, pytest.approx(1.0))
    low, high = auroc_interval(0.5, 100, 3000)
    # The null distribution of the Mann-Whitney statistic: 1.96 · √((m + n + 1) / 12mn).
    assert (low, high) == pytest.approx((0.443, 0.557), abs=2e-3)


@pytest.mark.parametrize(
    ("values", "further", "interval"),
    [
        # s = 0.1, t = 4.30265: 0.2 ± 4.30265 · 0.1 · √(1/3 + 1/3).
        ([0.1, 0.2, 0.3], 3, (-0.151310, 0.551310)),
        # s = 0.141421, t = 12.7062: 0.5 ± 12.7062 · 0.141421 · √(1/2 + 1).
        ([0.4, 0.6], 1, (-1.700779, 2.700779)),
        ([0.4, 0.4], 3, (0.4, 0.4)),
        ([0.4], 3, None),
    ],
)
def test_where_the_mean_of_further_seeds_lies(values, further, interval) -> None:
    found = further_mean(values, further)
    assert found == (None if interval is None else pytest.approx(interval, abs=1e-6))
