"""Compute the textures that the corruptions frost and spatter put over images."""

from functools import cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import scipy  # imports scipy.ndimage when it is used first

from debias_pipeline.biased_data.corruptions.operations import (
    ROUNDING,
    SIDE,
    Bytes,
    Floats,
    correlate,
)

_FROST_SEED: Final = 32
_WEAK_EDGE: Final = 50
_STRONG_EDGE: Final = 150
# Distances to an edge are at most this many pixels.
_MAX_DISTANCE: Final = 20
_BOX: Final = np.full((3, 3), 1 / 9)
_EMBOSS: Final = np.array([(-2, -1, 0), (-1, 1, 1), (0, 1, 2)])
_SOBEL: Final = np.array([(-1, 0, 1), (-2, 0, 2), (-1, 0, 1)])


@cache
def frost_textures() -> npt.NDArray[np.float32]:
    """Return computed textures of frosted glass, in place of the photographs of CIFAR-10-C.

    Each pixel belongs to the ice crystal with the nearest of several random seeds. A crystal has a
    line with branches at 60 degrees. A smooth random field varies the density; the colour is a
    pale blue.

    Returns:
        float32, 5 × 192 × 192 × 3, in 0..1; the same in every run.
    """
    generators = [np.random.default_rng((_FROST_SEED, number)) for number in range(5)]
    textures = np.stack([_frost_texture(rng, 192) for rng in generators]).astype(np.float32)
    textures.flags.writeable = False
    return textures


def _frost_texture(rng: np.random.Generator, side: int) -> Floats:
    def smooth(sigma: float) -> Floats:
        field = scipy.ndimage.gaussian_filter(rng.standard_normal((side, side)), sigma, mode="wrap")
        unit: Floats = field / field.std()
        return unit

    crystals = (side // 24) ** 2
    seeds = rng.uniform(0, side, (crystals, 2))
    angles = rng.uniform(0, 2 * np.pi, crystals)
    rows, columns = np.indices((side, side)) + 1.5 * np.stack([smooth(6), smooth(6)])
    squares = (rows[..., None] - seeds[:, 0]) ** 2 + (columns[..., None] - seeds[:, 1]) ** 2
    nearest = squares.argmin(axis=-1)
    down, right = rows - seeds[nearest, 0], columns - seeds[nearest, 1]
    cos, sin = np.cos(angles[nearest]), np.sin(angles[nearest])
    along, aside = cos * right + sin * down, np.abs(cos * down - sin * right)

    barbs = np.abs(np.cos(np.pi / 6 * (along + aside / np.tan(np.pi / 3)) + 0.5 * smooth(4)))
    spine = np.exp(-((aside / 1.5) ** 2))
    # Without random variation the branches look like stripes.
    crystal = np.maximum(barbs**3 * np.clip(0.7 + 0.4 * smooth(2), 0, 1), spine)
    density = 1 / (1 + np.exp(-1.5 * smooth(9)))
    grain = 0.08 * smooth(0.6)
    light = np.clip(0.26 + 0.35 * density + 0.5 * crystal * (0.3 + 0.7 * density) + grain, 0, 1)
    # Thin frost is blue, thick frost is white.
    tint = np.array([0.72, 0.88, 1.0])
    texture: Floats = light[..., None] * (tint + (1 - tint) * light[..., None])
    return texture


def water(layer: Floats) -> Floats:
    """Return the brightness of water drops.

    It is the product of the layer and of a relief: the distance of each pixel to the nearest edge
    of a drop after an emboss filter.

    Args:
        layer: float, N × 32 × 32, the drops; 0 or more, values above 1 count as 1.

    Returns:
        float, N × 32 × 32, in 0..1.
    """
    liquid = (np.minimum(layer, 1) * 255).astype(np.uint8)
    distance = np.minimum(_distance(_edges(liquid)), _MAX_DISTANCE)
    relief = _equalise((correlate(distance, _BOX, "reflect") + ROUNDING).astype(np.uint8))
    relief = np.clip(correlate(relief, _EMBOSS, "reflect"), 0, 255)
    light = liquid * np.rint(correlate(relief, _BOX, "reflect"))
    most = light.max(axis=(1, 2), keepdims=True)
    shine: Floats = light / np.where(most == 0, 1, most)
    return shine


def _edges(liquid: Bytes) -> npt.NDArray[np.bool_]:
    """Return Canny edges: maxima of the gradient that are connected to a strong one."""
    levels = liquid.astype(np.int32)
    dx = correlate(levels, _SOBEL, "edge")
    dy = correlate(levels, _SOBEL.T, "edge")
    size = np.abs(dx) + np.abs(dy)
    candidate = (size > _WEAK_EDGE) & _is_maximum(size, dx, dy)
    # Pixels of different images are not connected.
    plane = np.zeros((3, 3, 3), bool)
    plane[1] = True
    labels, count = scipy.ndimage.label(candidate, plane)
    strong = np.zeros(count + 1, bool)
    strong[labels[size > _STRONG_EDGE]] = True
    strong[0] = False
    edges: npt.NDArray[np.bool_] = strong[labels]
    return edges


def _is_maximum(
    size: npt.NDArray[Any], dx: npt.NDArray[Any], dy: npt.NDArray[Any]
) -> npt.NDArray[np.bool_]:
    """Return whether the gradient is larger than at its two neighbours along its direction."""
    padded = np.pad(size, ((0, 0), (1, 1), (1, 1)))

    def neighbour(down: int, right: int) -> npt.NDArray[Any]:
        return padded[:, 1 + down : 1 + down + SIDE, 1 + right : 1 + right + SIDE]

    steep = np.tan(np.pi / 8)
    level = np.abs(dy) < np.abs(dx) * steep
    upright = np.abs(dy) > np.abs(dx) / steep
    falling = (dx < 0) == (dy < 0)
    # Of two equal neighbours, one is a maximum; on diagonals, neither.
    along_row = (size > neighbour(0, -1)) & (size >= neighbour(0, 1))
    along_column = (size > neighbour(-1, 0)) & (size >= neighbour(1, 0))
    along_falling = (size > neighbour(-1, -1)) & (size > neighbour(1, 1))
    along_rising = (size > neighbour(-1, 1)) & (size > neighbour(1, -1))
    return np.select(
        [level, upright, falling], [along_row, along_column, along_falling], along_rising
    )


def _distance(edges: npt.NDArray[np.bool_]) -> Floats:
    """Return the distance in pixels to the nearest edge, or more than 32 without any edge."""
    # Add an image full of edges, so that there is always one. The distance between images is so
    # large that edges of other images are farther away than any edge of the same image.
    far = np.concatenate([np.zeros_like(edges[:1]), ~edges])
    distance: Floats = scipy.ndimage.distance_transform_edt(far, sampling=(2 * SIDE, 1, 1))[1:]
    return distance


def _equalise(images: Bytes) -> Floats:
    """Equalise the histogram of each image."""
    n, pixels = len(images), SIDE * SIDE
    flat = images.reshape(n, pixels).astype(np.intp)
    places = flat + 256 * np.arange(n)[:, None]
    counts = np.bincount(places.ravel(), minlength=256 * n).reshape(n, 256)
    darkest = flat.min(axis=1)[:, None]
    others = pixels - np.take_along_axis(counts, darkest, axis=1)
    up_to = counts.cumsum(axis=1) - (pixels - others)
    level = np.rint(up_to * (255 / np.maximum(others, 1)))
    # An image with a single level does not change.
    level = np.where(others == 0, darkest, level)
    return np.take_along_axis(level, flat, axis=1).reshape(images.shape)
