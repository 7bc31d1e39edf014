"""Operations compared with SciPy and with values computed by hand."""

import numpy as np
import pytest
from scipy import ndimage
from small_images import N, rng

from debias_pipeline.biased_data.corruptions.operations import (
    fold_at_centre,
    fold_at_edge,
    motion_blur,
    plasma,
    sample,
    warp_affine,
    zoom,
)


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


def test_elastic_without_displacement_is_affine():
    ramp = np.repeat(np.arange(32)[:, None] * 8.0, 32, axis=1)
    planes = np.broadcast_to(ramp, (3, 4, 32, 32)) / 255
    shifts = rng().uniform(-2.56, 2.56, (4, 3, 2))
    warped = warp_affine(planes, shifts)[:, :, 8:24, 8:24]
    assert np.allclose(np.diff(warped, 2, axis=-1), 0, atol=1e-6)
    assert np.allclose(np.diff(warped, 2, axis=-2), 0, atol=1e-6)


def test_affine_map_takes_the_three_points_where_it_should():
    shifts = np.array([[(1, 2), (-2, 1), (2, -1)]])
    planes = np.zeros((3, 1, 32, 32))
    for channel, (x, y) in enumerate([(26, 26), (26, 6), (6, 6)]):
        planes[channel, 0, y, x] = 1
    warped = warp_affine(planes, shifts)
    for channel, (x, y) in enumerate([(27, 28), (24, 7), (8, 5)]):
        assert warped[channel, 0, y, x] == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(("fold", "mode"), [(fold_at_centre, "mirror"), (fold_at_edge, "reflect")])
def test_sampling_is_scipys(images, fold, mode):
    planes = images.transpose(3, 0, 1, 2) / 255
    rows, columns = rng().uniform(-40, 72, (2, N, 32, 32))
    found = sample(planes, rows, columns, fold)
    for row in range(N):
        expected = ndimage.map_coordinates(
            planes[1, row], [rows[row], columns[row]], order=1, mode=mode
        )
        assert np.allclose(found[1, row], expected, atol=1e-5)
