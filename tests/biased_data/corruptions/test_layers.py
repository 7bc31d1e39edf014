"""Layers of noise against SciPy, and against what can be worked out by hand."""

import numpy as np
import pytest
from scipy import ndimage
from small_images import rng

from debias_pipeline.biased_data.corruptions.operations import motion_blur, plasma, zoom


def test_fog_is_finer_where_it_decays_less():
    def roughness(decay):
        noise = rng().uniform(-1, 1, (40, 32, 32))
        return np.abs(np.diff(plasma(noise, decay))).mean()

    assert roughness(3) < roughness(2) < roughness(1.75)


def test_fog_is_midpoint_displacement():
    """A cloud without noise but at its centre: half of it at the crosses, and so on."""
    noise = np.zeros((1, 32, 32))
    noise[0, 16, 16] = 1
    cloud = plasma(noise, 3)[0]
    assert cloud[0, 0] == 0
    assert cloud[16, 16] == 1
    # The edges meet, so a cross lies between the centre, twice, and the corner, twice.
    assert cloud[0, 16] == cloud[16, 0] == 0.5
    assert cloud[8, 8] == (0 + 1 + 0.5 + 0.5) / 4
    assert cloud[0, 8] == (0 + 0.5 + 2 * cloud[8, 8]) / 4


@pytest.mark.parametrize("factor", [1, 1.25, 1.75, 2.25])
def test_flakes_are_enlarged_like_scipys_zoom(factor):
    layer = rng().normal(size=(2, 32, 32))
    inner = int(np.ceil(32 / factor))
    top = (32 - inner) // 2
    piece = layer[:, top : top + inner, top : top + inner]
    whole = ndimage.zoom(piece, (1, factor, factor), order=1)
    trim = (whole.shape[1] - 32) // 2
    expected = whole[:, trim : trim + 32, trim : trim + 32]
    assert np.allclose(zoom(layer, factor), expected)


def test_streaks_are_half_a_bell_curve():
    layer = np.zeros((2, 32, 32))
    layer[:, 10, 16] = 1
    down, slanted = motion_blur(layer, 5, 2, np.deg2rad([-90, -45]))
    bell = np.exp(-(np.arange(11) ** 2) / 8)
    bell /= bell.sum()
    assert np.allclose(down[10:21, 16], bell)
    assert np.allclose(down.sum(), 1)
    assert np.allclose(slanted.sum(), 1)
    rows, columns = np.nonzero(slanted > 1e-3)
    assert np.array_equal(rows - 10, 16 - columns)
