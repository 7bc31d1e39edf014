import numpy as np
from small_images import rng

from debias_pipeline.biased_data.corruptions.textures import (
    _distance,
    _edges,
    _equalise,
    frost_textures,
    water,
)


def test_frost_textures_are_five_and_the_same_in_every_run():
    textures = frost_textures()
    assert len(textures) == 5
    assert textures.min() >= 0
    assert textures.max() <= 1
    frost_textures.cache_clear()
    assert np.array_equal(textures, frost_textures())


def test_no_drop_no_change():
    layer = np.zeros((2, 32, 32))
    assert not water(layer).any()


def test_distances_end_at_the_image():
    edges = np.zeros((3, 32, 32), bool)
    edges[1, 5, 5] = True
    distance = _distance(edges)
    rows, columns = np.indices((32, 32))
    assert np.allclose(distance[1], np.hypot(rows - 5, columns - 5))
    assert distance[[0, 2]].min() > 32


def test_equalised_levels_reach_from_0_to_255():
    image = rng().integers(100, 110, (1, 32, 32), dtype=np.uint8)
    level = _equalise(np.concatenate([image, np.full_like(image, 9)]))
    assert (level[0].min(), level[0].max()) == (0, 255)
    assert (np.diff(level[0].ravel()[np.argsort(image.ravel(), kind="stable")]) >= 0).all()
    assert (level[1] == 9).all()


def test_edges_lie_where_a_step_is():
    image = np.zeros((2, 32, 32), np.uint8)
    image[0, :, 16:] = 200
    image[1, :, 16:] = 10  # too faint
    edges = _edges(image)
    assert edges[0].sum() == 32
    assert edges[0][:, 15:17].sum() == 32
    assert not edges[1].any()
