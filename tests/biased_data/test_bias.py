import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from debias_pipeline.biased_data.bias import bias_by_conflict, bias_by_redrawing, bias_uniform

seeds = st.integers(0, 2**32 - 1)
fractions = st.floats(0, 1)
labels = st.lists(st.integers(0, 9), max_size=200).map(lambda values: np.array(values, np.int16))


@given(labels, fractions, seeds)
def test_exactly_so_many_conflict_or_at_most_so_many_of_those_redrawn(label, fraction, seed):
    for draw in (bias_by_conflict, bias_by_redrawing):
        bias = draw(label, fraction, np.random.default_rng(seed))
        assert bias.dtype == np.int16
        assert np.all((bias >= 0) & (bias <= 9))
        conflicting, drawn = np.count_nonzero(bias != label), int(fraction * len(label) + 0.5)
        assert conflicting == drawn if draw is bias_by_conflict else conflicting <= drawn


def test_nine_in_ten_redrawn_images_conflict():
    label = np.arange(50_000, dtype=np.int16) % 10
    bias = bias_by_redrawing(label, 0.2, np.random.default_rng(0))
    assert np.mean(bias != label) == pytest.approx(0.18, abs=0.005)


def test_conflicting_colours_are_spread_over_the_nine_others():
    label = np.full(9_000, 3, np.int16)
    bias = bias_by_conflict(label, 1.0, np.random.default_rng(0))
    counts = np.bincount(bias, minlength=10)
    assert counts[3] == 0
    assert np.all(np.abs(np.delete(counts, 3) - 1_000) < 150)


def test_uniform_colours_are_uniform():
    bias = bias_uniform(10_000, np.random.default_rng(0))
    assert bias.dtype == np.int16
    assert np.all(np.abs(np.bincount(bias, minlength=10) - 1_000) < 150)
