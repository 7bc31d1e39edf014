"""Panes of frosted glass, computed."""

from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from debias_pipeline.biased_data.corruptions.planes import Floats

_FROST_SEED: Final = 32


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
