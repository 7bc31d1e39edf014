"""Textures that corruptions lay over images: frosted glass and the light of water drops."""

from functools import cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from debias_pipeline.biased_data.corruptions.operations import (
    HAIR,
    SIDE,
    Bytes,
    Floats,
    correlate,
)

_FROST_SEED: Final = 32
_WEAK_EDGE: Final = 50
_STRONG_EDGE: Final = 150
# In pixels; what lies farther from an edge counts as this far.
_FARTHEST: Final = 20
_BOX: Final = np.full((3, 3), 1 / 9)
_EMBOSS: Final = np.array([(-2, -1, 0), (-1, 1, 1), (0, 1, 2)])
_SOBEL: Final = np.array([(-1, 0, 1), (-2, 0, 2), (-1, 0, 1)])


@cache
def frost_textures() -> npt.NDArray[np.float32]:
    """Panes of frosted glass, computed: our own stand-in for CIFAR-10-C's photographs.

    Crystals grow from scattered seeds. Each fills the part of the pane nearest to its own seed
    with barbs that branch off a spine at 60 degrees, as hexagonal ice does; clouds of denser and
    thinner frost go over all, and its light is a pale blue.

    Returns:
        float32, 5 × 192 × 192 × 3, in 0..1; the same in every run, as photographs would be.
    """
    panes = [_frost_pane(np.random.default_rng((_FROST_SEED, pane)), 192) for pane in range(5)]
    textures = np.stack(panes).astype(np.float32)
    textures.flags.writeable = False
    return textures


def _frost_pane(rng: np.random.Generator, side: int) -> Floats:
    def smooth(sigma: float) -> Floats:
        field = ndimage.gaussian_filter(rng.standard_normal((side, side)), sigma, mode="wrap")
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
    # Barbs are uneven; without that the pane looks striped.
    crystal = np.maximum(barbs**3 * np.clip(0.7 + 0.4 * smooth(2), 0, 1), spine)
    density = 1 / (1 + np.exp(-1.5 * smooth(9)))
    grain = 0.08 * smooth(0.6)
    light = np.clip(0.26 + 0.35 * density + 0.5 * crystal * (0.3 + 0.7 * density) + grain, 0, 1)
    # Thin frost is blue, thick frost white.
    tint = np.array([0.72, 0.88, 1.0])
    pane: Floats = light[..., None] * (tint + (1 - tint) * light[..., None])
    return pane


def water(layer: Floats) -> Floats:
    """How much light drops of water throw.

    Args:
        layer: float, N × 32 × 32, the drops; from 0, where all above 1 counts as 1.

    Returns:
        float, N × 32 × 32, from 0 to at most 1 in each image.
    """
    liquid = (np.minimum(layer, 1) * 255).astype(np.uint8)
    distance = np.minimum(_distance(_edges(liquid)), _FARTHEST)
    relief = _equalise((correlate(distance, _BOX, "reflect") + HAIR).astype(np.uint8))
    relief = np.clip(correlate(relief, _EMBOSS, "reflect"), 0, 255)
    light = liquid * np.rint(correlate(relief, _BOX, "reflect"))
    most = light.max(axis=(1, 2), keepdims=True)
    shine: Floats = light / np.where(most == 0, 1, most)
    return shine


def _edges(liquid: Bytes) -> npt.NDArray[np.bool_]:
    """Canny's edges: the crests of the gradient that hang together with a strong one."""
    levels = liquid.astype(np.int32)
    dx = correlate(levels, _SOBEL, "edge")
    dy = correlate(levels, _SOBEL.T, "edge")
    size = np.abs(dx) + np.abs(dy)
    candidate = (size > _WEAK_EDGE) & _is_crest(size, dx, dy)
    # A structure of one plane, so that nothing hangs together from image to image.
    plane = np.zeros((3, 3, 3), bool)
    plane[1] = True
    labels, count = ndimage.label(candidate, plane)
    strong = np.zeros(count + 1, bool)
    strong[labels[size > _STRONG_EDGE]] = True
    strong[0] = False
    edges: npt.NDArray[np.bool_] = strong[labels]
    return edges


def _is_crest(
    size: npt.NDArray[Any], dx: npt.NDArray[Any], dy: npt.NDArray[Any]
) -> npt.NDArray[np.bool_]:
    """Whether the gradient is larger than before and behind, in the nearest of four directions."""
    padded = np.pad(size, ((0, 0), (1, 1), (1, 1)))

    def neighbour(down: int, right: int) -> npt.NDArray[Any]:
        return padded[:, 1 + down : 1 + down + SIDE, 1 + right : 1 + right + SIDE]

    steep = np.tan(np.pi / 8)
    level = np.abs(dy) < np.abs(dx) * steep
    upright = np.abs(dy) > np.abs(dx) / steep
    falling = (dx < 0) == (dy < 0)
    # Of two equal neighbours, one is the crest; on diagonals, neither.
    along_row = (size > neighbour(0, -1)) & (size >= neighbour(0, 1))
    along_column = (size > neighbour(-1, 0)) & (size >= neighbour(1, 0))
    along_falling = (size > neighbour(-1, -1)) & (size > neighbour(1, 1))
    along_rising = (size > neighbour(-1, 1)) & (size > neighbour(1, -1))
    return np.select(
        [level, upright, falling], [along_row, along_column, along_falling], along_rising
    )


def _distance(edges: npt.NDArray[np.bool_]) -> Floats:
    """Distance of each pixel to the nearest edge of its image; more than 32 where there is none."""
    # One image of nothing but edges comes first, so that there are always some; images stand so
    # far apart that edges of another are farther than any of one's own.
    far = np.concatenate([np.zeros_like(edges[:1]), ~edges])
    distance: Floats = ndimage.distance_transform_edt(far, sampling=(2 * SIDE, 1, 1))[1:]
    return distance


def _equalise(images: Bytes) -> Floats:
    """Spread each image's levels so that all are about as frequent."""
    n, pixels = len(images), SIDE * SIDE
    flat = images.reshape(n, pixels).astype(np.intp)
    places = flat + 256 * np.arange(n)[:, None]
    counts = np.bincount(places.ravel(), minlength=256 * n).reshape(n, 256)
    darkest = flat.min(axis=1)[:, None]
    others = pixels - np.take_along_axis(counts, darkest, axis=1)
    up_to = counts.cumsum(axis=1) - (pixels - others)
    level = np.rint(up_to * (255 / np.maximum(others, 1)))
    # An image of one level only stays as it is.
    level = np.where(others == 0, darkest, level)
    return np.take_along_axis(level, flat, axis=1).reshape(images.shape)
