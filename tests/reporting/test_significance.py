import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from debias_pipeline.reporting.significance import find_best, holm

FIGURES = st.integers(0, 1000).map(lambda correct: correct / 1000)
METHODS = st.sampled_from(["vanilla", "lff", "disent", "other"])


def grids(least_seeds: int = 1, most_seeds: int = 5) -> st.SearchStrategy[dict]:
    seeds = st.dictionaries(st.integers(0, 6), FIGURES, min_size=least_seeds, max_size=most_seeds)
    return st.dictionaries(METHODS, seeds, min_size=1)


def by_seed(*figures: float) -> dict[int, float]:
    return dict(enumerate(figures))


def test_two_seeds_by_hand() -> None:
    # Differences 0.2 and 0.3: mean 0.25, standard error 0.05, t = 5 on one degree of freedom,
    # whose two-sided p is 1 − (2/π)·atan(5).
    verdict = find_best({"a": by_seed(0.5, 0.5), "b": by_seed(0.7, 0.8)})
    assert verdict is not None
    assert verdict.best == "b"
    (comparison,) = verdict.comparisons
    assert (comparison["method"], comparison["seeds"]) == ("a", 2)
    assert comparison["difference"] == pytest.approx(0.25)
    assert comparison["p_value"] == pytest.approx(1 - 2 / math.pi * math.atan(5))
    assert comparison["p_corrected"] == comparison["p_value"]
    assert not verdict.marked  # p = 0.126


def test_three_seeds_by_hand() -> None:
    # Differences 0.01, 0.02, 0.03: t = 2·√3 on two degrees of freedom, whose two-sided p is
    # 1 − t/√(t² + 2) = 0.0742: not marked. Differences 0.19, 0.2, 0.21: t = 20·√3, p = 0.00083.
    t = 2 * math.sqrt(3)
    close = find_best({"a": by_seed(0.5, 0.5, 0.5), "b": by_seed(0.51, 0.52, 0.53)})
    assert close is not None
    assert close.p_value == pytest.approx(1 - t / math.sqrt(t**2 + 2))
    assert not close.marked
    far = find_best({"a": by_seed(0.5, 0.5, 0.5), "b": by_seed(0.69, 0.7, 0.71)})
    assert far is not None
    assert far.p_value == pytest.approx(1 - 10 * t / math.sqrt(100 * t**2 + 2))
    assert far.marked


def test_holm_by_hand() -> None:
    # Sorted: 0.01·3, 0.02·2, 0.03·1, none less than the one before.
    assert holm([0.03, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    assert holm([0.6, 0.5]) == [1.0, 1.0]
    assert holm([]) == []


def test_correction_can_take_the_mark_away() -> None:
    # Against each alone p = 1 − t/√(t² + 2) with t = 3·√3: 0.0351; against both, twice that.
    best = by_seed(0.52, 0.53, 0.54)
    other = by_seed(0.5, 0.5, 0.5)
    alone = find_best({"a": best, "b": other})
    both = find_best({"a": best, "b": other, "c": other})
    assert alone is not None and both is not None
    assert alone.p_value == pytest.approx(0.0351, abs=1e-4)
    assert alone.marked
    assert both.p_value == pytest.approx(0.0702, abs=1e-4)
    assert not both.marked


def test_best_must_beat_every_other() -> None:
    verdict = find_best(
        {
            "a": by_seed(0.80, 0.82, 0.81),
            "b": by_seed(0.79, 0.82, 0.805),
            "c": by_seed(0.1, 0.11, 0.12),
        }
    )
    assert verdict is not None
    assert verdict.best == "a"
    b, c = verdict.comparisons
    assert c["p_corrected"] is not None and c["p_corrected"] < 0.01
    assert verdict.p_value == b["p_corrected"]
    assert not verdict.marked


def test_only_common_seeds_are_compared() -> None:
    verdict = find_best({"a": {0: 0.5, 1: 0.6, 7: 0.1}, "b": {0: 0.7, 1: 0.9, 8: 0.9}})
    assert verdict is not None
    (comparison,) = verdict.comparisons
    assert comparison["seeds"] == 2
    assert comparison["difference"] == pytest.approx(0.25)


def test_best_that_is_behind_on_common_seeds_is_not_better() -> None:
    verdict = find_best(
        {"a": {0: 0.50, 1: 0.51, 2: 0.50, 9: 1.0}, "b": {0: 0.60, 1: 0.61, 2: 0.605}}
    )
    assert verdict is not None
    assert verdict.best == "a"
    assert verdict.comparisons[0]["p_value"] == 1
    assert not verdict.marked


def test_same_difference_for_every_seed_has_no_answer() -> None:
    # In floating point the differences are 0.2 and 0.20000000000000007, and t beyond 1e15.
    verdict = find_best({"a": by_seed(0.3, 0.4), "b": by_seed(0.5, 0.6000000000000001)})
    assert verdict is not None
    assert verdict.comparisons[0]["p_value"] is None
    assert verdict.p_value is None
    assert not verdict.marked


def test_nothing_and_one_method_alone() -> None:
    assert find_best({}) is None
    assert find_best({"a": {}}) is None
    alone = find_best({"a": by_seed(0.5, 0.6, 0.7), "b": {}})
    assert alone is not None
    assert alone.comparisons == ()
    assert alone.p_value is None
    assert not alone.marked


@given(grids(), st.randoms())
def test_order_of_methods_does_not_matter(grid: dict, random: object) -> None:
    items = list(grid.items())
    random.shuffle(items)  # type: ignore[attr-defined]
    assert find_best(dict(items)) == find_best(grid)


@given(grids(most_seeds=1))
def test_one_seed_never_marks(grid: dict) -> None:
    verdict = find_best(grid)
    assert verdict is not None
    assert not verdict.marked


@given(st.dictionaries(st.integers(0, 9), FIGURES, min_size=1), st.sets(METHODS, min_size=1))
def test_identical_values_never_mark(by_seed: dict, methods: set) -> None:
    verdict = find_best(dict.fromkeys(methods, by_seed))
    assert verdict is not None
    assert not verdict.marked
    assert all(each["p_value"] in (1, None) for each in verdict.comparisons)


# Two levels far apart, so that marks are common among the examples.
SPREAD = st.integers(0, 20).map(lambda correct: correct / 1000)
APART = st.tuples(
    st.lists(SPREAD, min_size=3, max_size=5),
    st.lists(st.lists(SPREAD, min_size=3, max_size=5), min_size=1, max_size=3),
    st.sampled_from([0.0, 0.3]),
)


@given(APART)
def test_marked_is_what_beats_every_other_on_common_seeds(drawn: tuple) -> None:
    ahead, others, lead = drawn
    grid = {"ahead": by_seed(*(lead + each for each in ahead))}
    grid |= {f"other {place}": by_seed(*figures) for place, figures in enumerate(others)}
    verdict = find_best(grid)
    assert verdict is not None
    assert len(verdict.comparisons) == len(others)
    beaten = [
        each["seeds"] >= 3
        and each["difference"] is not None
        and each["difference"] > 0
        and each["p_corrected"] is not None
        and each["p_corrected"] < 0.05
        for each in verdict.comparisons
    ]
    assert verdict.marked == all(beaten)


@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_lies_between_no_correction_and_bonferroni(p_values: list) -> None:
    for raw, corrected in zip(p_values, holm(p_values), strict=True):
        assert raw <= corrected <= min(1, raw * len(p_values)) + 1e-12 or corrected == 1 == raw
