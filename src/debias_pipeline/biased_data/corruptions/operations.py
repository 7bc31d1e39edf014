"""Operations on images and on layers of noise that the corruptions share.

Planes are images as float32, 3 × N × 32 × 32 in 0..1 (NumPy is slow along a short last axis).
Layers are float, N × 32 × 32, one per image.
"""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import scipy  # imports scipy.ndimage when it is used first

Bytes = npt.NDArray[np.uint8]
# float32 or float64.
Floats = npt.NDArray[Any]
SIDE: Final = 32
# Added to levels before truncation, so that rounding errors do not reduce them by one.
ROUNDING: Final = 1e-3
_LUMA_WEIGHTS: Final = (0.299, 0.587, 0.114)


def to_planes(images: Bytes) -> Floats:
    """Convert images (uint8, N × 32 × 32 × 3) to planes."""
    planes = np.ascontiguousarray(images.transpose(3, 0, 1, 2)).astype(np.float32)
    planes /= 255
    return planes


def to_bytes(planes: Floats) -> Bytes:
    """Convert planes to uint8, N × 32 × 32 × 3, truncating fractions as CIFAR-10-C does."""
    levels = np.clip(planes, 0, 1) * np.float32(255) + np.float32(ROUNDING)
    return np.ascontiguousarray(levels.astype(np.uint8).transpose(1, 2, 3, 0))


def luma(planes: Floats) -> Floats:
    """Convert planes to one layer: the luma of each pixel (ITU-R BT.601)."""
    red, green, blue = _LUMA_WEIGHTS
    grey: Floats = red * planes[0] + green * planes[1] + blue * planes[2]
    return grey


def gaussian(layer: Floats, sigma: float) -> Floats:
    """Blur each layer with a Gaussian of `sigma` pixels; edges are repeated."""
    blurred: Floats = scipy.ndimage.gaussian_filter(
        layer, (0, sigma, sigma), mode="nearest", truncate=4
    )
    return blurred


def zoom(layer: Floats, factor: float) -> Floats:
    """Enlarge the centre of each layer to the full size, with linear interpolation."""
    if factor == 1:
        return layer
    inner = int(np.ceil(SIDE / factor))
    outer = round(inner * factor)
    # Enlarge with corners aligned, then crop the centre.
    enlarged = np.arange(SIDE) + (outer - SIDE) // 2
    indices = enlarged * (inner - 1) / (outer - 1) + (SIDE - inner) // 2
    low = np.minimum(np.floor(indices).astype(np.intp), SIDE - 2)
    high_share = indices - low
    rows = layer[:, low] * (1 - high_share)[:, None] + layer[:, low + 1] * high_share[:, None]
    zoomed: Floats = rows[:, :, low] * (1 - high_share) + rows[:, :, low + 1] * high_share
    return zoomed


def motion_blur(
    layer: Floats, radius: int, sigma: float, angles: npt.NDArray[np.float64]
) -> Floats:
    """Blur each layer along a line with half of a Gaussian, as ImageMagick; edges are repeated.

    Args:
        radius: the line is 2 × radius + 1 pixels long.
        sigma: of the Gaussian, in pixels.
        angles: N, in radians; the direction of the line is (cos, sin) in (right, down).
    """
    length = 2 * radius + 1
    weights = np.exp(-(np.arange(length) ** 2) / (2 * sigma**2))
    weights /= weights.sum()
    padded = np.pad(layer, ((0, 0), (length, length), (length, length)), mode="edge")
    # A view of every window of the size of an image.
    windows = np.lib.stride_tricks.sliding_window_view(padded, (SIDE, SIDE), axis=(1, 2))
    every = np.arange(len(layer))
    blurred = np.zeros_like(layer)
    for step, weight in enumerate(weights):
        right = np.ceil(step * np.cos(angles) - 0.5).astype(np.intp)
        down = np.ceil(step * np.sin(angles) - 0.5).astype(np.intp)
        blurred += weight * windows[every, length + down, length + right]
    return blurred


def plasma(noise: Floats, decay: float) -> Floats:
    """Return random clouds, computed by midpoint displacement with periodic edges.

    Args:
        noise: N × 32 × 32, in -1..1.
        decay: each finer grid is displaced by 1 / decay² of the previous one.

    Returns:
        N × 32 × 32, each with minimum 0 and maximum 1.
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


def warp_affine(planes: Floats, shifts: npt.NDArray[np.float64]) -> Floats:
    """Apply the affine map that shifts three points of each image.

    Args:
        planes: 3 × N × 32 × 32.
        shifts: N × 3 × 2, (right, down) in pixels, of the points (26, 26), (26, 6) and (6, 6).
    """
    centre, reach = SIDE // 2, SIDE // 3
    signs = np.array([(1, 1), (1, -1), (-1, -1)])
    points = np.concatenate([centre + reach * signs, np.ones((3, 1))], axis=1)
    moved = points + np.pad(shifts, ((0, 0), (0, 0), (0, 1)))
    # The inverse map, from the position of a pixel in the result to that in the image.
    back = np.linalg.inv(moved) @ points
    rows, columns = np.indices((SIDE, SIDE))
    (xx, xy), (yx, yy), (x0, y0) = (back[:, i, :2].T[:, :, None, None] for i in range(3))
    return sample(
        planes, xy * columns + yy * rows + y0, xx * columns + yx * rows + x0, fold_at_centre
    )


def sample(
    planes: Floats,
    rows: npt.NDArray[np.float64],
    columns: npt.NDArray[np.float64],
    fold: Callable[[npt.NDArray[np.intp]], npt.NDArray[np.intp]],
) -> Floats:
    """Sample images at fractional positions, with bilinear interpolation.

    Args:
        planes: 3 × N × 32 × 32.
        rows: N × 32 × 32, the vertical position to read for each output pixel.
        columns: N × 32 × 32, the horizontal position.
        fold: maps pixel indices outside of the image into it, such as `fold_at_edge`.
    """
    n = planes.shape[1]
    flat = planes.reshape(3, -1)
    start = (np.arange(n) * SIDE * SIDE)[:, None, None]
    top, left = np.floor(rows).astype(np.intp), np.floor(columns).astype(np.intp)
    down, right = (rows - top).astype(np.float32), (columns - left).astype(np.float32)
    result = np.zeros_like(planes)
    for row, row_weight in ((top, 1 - down), (top + 1, down)):
        line = start + fold(row) * SIDE
        for column, column_weight in ((left, 1 - right), (left + 1, right)):
            result += flat[:, line + fold(column)] * (row_weight * column_weight)
    return result


def fold_at_centre(indices: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """Map any pixel index to 0..31 by mirroring at the centre of the outermost pixels.

    The outermost pixels are not repeated: -1 becomes 1.
    """
    within = indices % (2 * SIDE - 2)
    return np.minimum(within, 2 * SIDE - 2 - within)


def fold_at_edge(indices: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """Map any pixel index to 0..31 by mirroring at the outer edge.

    The outermost pixels are repeated: -1 becomes 0.
    """
    within = indices % (2 * SIDE)
    return np.minimum(within, 2 * SIDE - 1 - within)


def correlate(layer: npt.NDArray[Any], kernel: npt.NDArray[Any], mode: Any) -> npt.NDArray[Any]:
    """Correlate each layer with a 3 × 3 kernel; `mode` as in numpy.pad."""
    padded = np.pad(layer, ((0, 0), (1, 1), (1, 1)), mode=mode)
    total = np.zeros(layer.shape, np.result_type(layer, kernel))
    for (row, column), weight in np.ndenumerate(kernel):
        if weight:
            total += weight * padded[:, row : row + SIDE, column : column + SIDE]
    return total
