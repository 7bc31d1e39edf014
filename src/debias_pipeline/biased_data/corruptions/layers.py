"""What is done to a layer of noise before it lies over an image: blurred, enlarged, made a cloud.

Layers are float, N × 32 × 32, one for each image.
"""

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from debias_pipeline.biased_data.corruptions.planes import SIDE, Floats


def gaussian(layer: Floats, sigma: float) -> Floats:
    """Blur each layer (N × 32 × 32) with a bell curve `sigma` pixels wide, edges held."""
    blurred: Floats = ndimage.gaussian_filter(layer, (0, sigma, sigma), mode="nearest", truncate=4)
    return blurred


def zoom(layer: Floats, factor: float) -> Floats:
    """Enlarge the middle of each layer (N × 32 × 32) to the whole, linearly."""
    if factor == 1:
        return layer
    inner = int(np.ceil(SIDE / factor))
    outer = round(inner * factor)
    # The outermost points of the piece are those of the enlarged one, of which the middle is cut.
    enlarged = np.arange(SIDE) + (outer - SIDE) // 2
    places = enlarged * (inner - 1) / (outer - 1) + (SIDE - inner) // 2
    low = np.minimum(np.floor(places).astype(np.intp), SIDE - 2)
    high_share = places - low
    rows = layer[:, low] * (1 - high_share)[:, None] + layer[:, low + 1] * high_share[:, None]
    zoomed: Floats = rows[:, :, low] * (1 - high_share) + rows[:, :, low + 1] * high_share
    return zoomed


def motion_blur(
    layer: Floats, radius: int, sigma: float, angles: npt.NDArray[np.float64]
) -> Floats:
    """Smear each layer along a line, as ImageMagick does: one half of a bell curve, edges held.

    Args:
        layer: float, N × 32 × 32.
        radius: the line is 2 × radius + 1 pixels long.
        sigma: width of the bell curve in pixels.
        angles: radians, N; the line leaves a pixel in direction (cos, sin) of (right, down).
    """
    length = 2 * radius + 1
    weights = np.exp(-(np.arange(length) ** 2) / (2 * sigma**2))
    weights /= weights.sum()
    padded = np.pad(layer, ((0, 0), (length, length), (length, length)), mode="edge")
    # A view of every window of an image's size, so that a shifted layer is copied row by row.
    windows = np.lib.stride_tricks.sliding_window_view(padded, (SIDE, SIDE), axis=(1, 2))
    every = np.arange(len(layer))
    blurred = np.zeros_like(layer)
    for step, weight in enumerate(weights):
        right = np.ceil(step * np.cos(angles) - 0.5).astype(np.intp)
        down = np.ceil(step * np.sin(angles) - 0.5).astype(np.intp)
        blurred += weight * windows[every, length + down, length + right]
    return blurred


def plasma(noise: Floats, decay: float) -> Floats:
    """Clouds by midpoint displacement, on a grid whose edges meet.

    Args:
        noise: float, N × 32 × 32 in -1..1, one value for each pixel.
        decay: the square of this is how much weaker each finer grid is displaced.

    Returns:
        N × 32 × 32, each from 0 to 1.
    """
    cloud = np.zeros_like(noise)
    step, reach = SIDE, 1.0
    while step >= 2:
        half = step // 2
        grid, middle = slice(None, None, step), slice(half, None, step)
        corners = cloud[:, grid, grid]
        sums = corners + np.roll(corners, -1, axis=1)
        sums += np.roll(sums, -1, axis=2)
        cloud[:, middle, middle] = sums / 4 + reach * noise[:, middle, middle]
        centres = cloud[:, middle, middle]
        across = centres + np.roll(centres, 1, axis=1) + corners + np.roll(corners, -1, axis=2)
        cloud[:, grid, middle] = across / 4 + reach * noise[:, grid, middle]
        along = centres + np.roll(centres, 1, axis=2) + corners + np.roll(corners, -1, axis=1)
        cloud[:, middle, grid] = along / 4 + reach * noise[:, middle, grid]
        step, reach = half, reach / decay**2
    cloud -= cloud.min(axis=(1, 2), keepdims=True)
    cloud /= cloud.max(axis=(1, 2), keepdims=True)
    return cloud
