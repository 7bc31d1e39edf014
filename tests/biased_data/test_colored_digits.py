import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from debias_pipeline.biased_data.bias import bias_uniform
from debias_pipeline.biased_data.colored_digits import (
    COLOUR_NAMES,
    MEAN_COLOURS,
    draw_colours,
    paint,
)

seeds = st.integers(0, 2**32 - 1)


def test_every_colour_has_a_mean_and_a_name():
    assert MEAN_COLOURS.shape == (10, 3)
    assert len(set(COLOUR_NAMES)) == 10


@pytest.mark.parametrize(("noise", "expected"), [((), 0.02), ((0.005,), 0.005)])
def test_colours_scatter_around_their_means(noise, expected):
    bias = np.repeat(np.arange(10, dtype=np.int16), 2_000)
    colours = draw_colours(bias, np.random.default_rng(0), *noise).reshape(10, 2_000, 3)
    assert colours.min() >= 0
    assert colours.max() <= 1
    inner = (MEAN_COLOURS > 0.1) & (MEAN_COLOURS < 0.9)  # where nothing is clipped
    assert np.allclose(colours.mean(axis=1), MEAN_COLOURS, atol=0.01)
    assert np.allclose(colours.std(axis=1)[inner], expected, rtol=0.1)


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
