"""Images moved, against SciPy and the affine map's own points."""

import numpy as np
import pytest
from scipy import ndimage
from small_images import N, rng

from debias_pipeline.biased_data.corruptions.operations import (
    fold_at_centre,
    fold_at_edge,
    sample,
    warp_affine,
)


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
