import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from debias_pipeline.biased_data.colored_digits import (
    COLOUR_NAMES,
    MEAN_COLOURS,
    bias_by_conflict,
    bias_by_redrawing,
    bias_uniform,
    draw_colours,
    paint,
)

seeds = st.integers(0, 2**32 - 1)
fractions = st.floats(0, 1)
labels = st.lists(st.integers(0, 9), max_size=200).map(lambda values: np.array(values, np.int16))


def whole(x: float) -> int:
    return int(x + 0.5)


def test_every_colour_has_a_mean_and_a_name():
    assert MEAN_COLOURS.shape == (10, 3)
    assert len(set(COLOUR_NAMES)) == 10


@given(labels, fractions, seeds)
def test_exactly_so_many_conflict(label, fraction, seed):
    bias = bias_by_conflict(label, fraction, np.random.default_rng(seed))
    assert bias.dtype == np.int16
    assert np.count_nonzero(bias != label) == whole(fraction * len(label))
    assert np.all((bias >= 0) & (bias <= 9))


@given(labels, fractions, seeds)
def test_redrawing_changes_at_most_so_many(label, fraction, seed):
    bias = bias_by_redrawing(label, fraction, np.random.default_rng(seed))
    assert bias.dtype == np.int16
    assert np.count_nonzero(bias != label) <= whole(fraction * len(label))
    assert np.all((bias >= 0) & (bias <= 9))


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


def test_colours_scatter_around_their_means():
    bias = np.repeat(np.arange(10, dtype=np.int16), 2_000)
    colours = draw_colours(bias, np.random.default_rng(0)).reshape(10, 2_000, 3)
    assert colours.min() >= 0
    assert colours.max() <= 1
    inner = (MEAN_COLOURS > 0.1) & (MEAN_COLOURS < 0.9)  # where nothing is clipped
    assert np.allclose(colours.mean(axis=1), MEAN_COLOURS, atol=0.01)
    assert np.allclose(colours.std(axis=1)[inner], 0.02, atol=0.002)


@given(st.integers(0, 600), seeds)
def test_an_image_is_grey_level_times_colour(n, seed):
    rng = np.random.default_rng(seed)
    grey = rng.integers(0, 256, size=(7, 3, 4), dtype=np.uint8)
    grey[:, 0, 0] = 0
    rows = rng.integers(7, size=n)
    colours = draw_colours(bias_uniform(n, rng), rng)
    images = np.full((n, 3, 4, 3), 77, np.uint8)
    paint(grey, rows, colours, images)
    exact = grey[rows][..., None] * colours[:, None, None, :].astype(np.float64)
    assert np.all(np.abs(images - exact) <= 0.501)
    assert not images[:, 0, 0].any()


def test_white_stays_within_a_byte():
    images = np.empty((1, 1, 1, 3), np.uint8)
    paint(np.full((1, 1, 1), 255, np.uint8), np.array([0]), np.ones((1, 3), np.float32), images)
    assert images.ravel().tolist() == [255, 255, 255]
