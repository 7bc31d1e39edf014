import numpy as np
import pytest
from scipy import ndimage
from small_images import N, rng


@pytest.fixture(scope="session")
def images() -> np.ndarray:
    """Smooth colours with some noise, a black corner and a grey one: what photographs have."""
    generator = rng(7)
    smooth = ndimage.gaussian_filter(generator.normal(size=(N, 32, 32, 3)), (0, 3, 3, 0))
    levels = 128 + 900 * smooth + generator.normal(0, 8, smooth.shape)
    made = np.clip(levels, 0, 255).astype(np.uint8)
    made[:, :4, :4] = 0
    made[:, -4:, -4:] = 90
    return made
