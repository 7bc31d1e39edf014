import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from debias_pipeline.biased_data.bias import (
    bias_by_conflict,
    bias_by_even_conflict,
    bias_by_redrawing,
    bias_uniform,
)

seeds = st.integers(0, 2**32 - 1)
fractions = st.floats(0, 1)
labels = st.lists(st.integers(0, 9), max_size=200).map(lambda values: np.array(values, np.int16))


@given(labels, fractions, seeds)
def test_exactly_so_many_conflict_or_at_most_so_many_of_those_redrawn(label, fraction, seed):
    for draw in (bias_by_conflict, bias_by_even_conflict, bias_by_redrawing):
        bias = draw(label, fraction, np.random.default_rng(seed))
        assert bias.dtype == np.int16
        assert np.all((bias >= 0) & (bias <= 9))
        conflicting, drawn = np.count_nonzero(bias != label), int(fraction * len(label) + 0.5)
        assert conflicting <= drawn if draw is bias_by_redrawing else conflicting == drawn


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


def test_even_conflicts_are_spread_over_labels_and_over_the_nine_other_colours():
    # 60,000 images, 6,000 of each label: 300 conflict at 0.5 %, 30 per label.
    label = np.random.default_rng(0).permutation(np.repeat(np.arange(10, dtype=np.int16), 6_000))
    bias = bias_by_even_conflict(label, 0.005, np.random.default_rng(0))
    groups = np.zeros((10, 10), int)
    np.add.at(groups, (label, bias), 1)
    assert groups.diagonal().tolist() == [5_970] * 10
    # 30 = 6 × 3 + 3 × 4 per label; 300 = 6 × 33 + 3 × 34 per distance of colour and label.
    assert [sorted(np.delete(groups[each], each)) for each in range(10)] == [[3] * 6 + [4] * 3] * 10
    shift = (bias - label)[bias != label] % 10
    assert sorted(np.bincount(shift, minlength=10)[1:]) == [33] * 6 + [34] * 3


def test_even_conflicts_are_images_chosen_at_random():
    label = np.zeros(1_000, np.int16)
    first, second = (
        bias_by_even_conflict(label, 0.5, np.random.default_rng(seed)) != 0 for seed in (0, 1)
    )
    assert 200 < np.count_nonzero(first & second) < 300  # 250 expected
    assert 200 < np.count_nonzero(first[:500]) < 300


def test_uniform_colours_are_uniform():
    bias = bias_uniform(10_000, np.random.default_rng(0))
    assert bias.dtype == np.int16
    assert np.all(np.abs(np.bincount(bias, minlength=10) - 1_000) < 150)
