import numpy as np

from debias_pipeline.biased_data.corruptions.textures import frost_textures


def test_frost_textures_are_five_and_the_same_in_every_run():
    textures = frost_textures()
    assert len(textures) == 5
    assert textures.min() >= 0
    assert textures.max() <= 1
    frost_textures.cache_clear()
    assert np.array_equal(textures, frost_textures())
