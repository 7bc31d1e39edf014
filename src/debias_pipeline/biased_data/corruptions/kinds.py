"""Define the ten corruptions and their constants for each severity."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import scipy  # imports scipy.ndimage when it is used first
from PIL import Image

from debias_pipeline.biased_data.corruptions.operations import (
    SIDE,
    Bytes,
    fold_at_edge,
    gaussian,
    luma,
    motion_blur,
    plasma,
    sample,
    to_bytes,
    to_planes,
    warp_affine,
    zoom,
)
from debias_pipeline.biased_data.corruptions.textures import frost_textures, water

Seeds = npt.NDArray[np.uint64]
SEVERITIES: Final = (1, 2, 3, 4, 5)
# Colours of spatter in CIFAR-10-C, 8-bit RGB.
_WATER: Final = np.array([175, 238, 238], np.float32).reshape(3, 1, 1, 1) / 255
_MUD: Final = np.array([63, 42, 20], np.float32).reshape(3, 1, 1, 1) / 255


@dataclass(frozen=True)
class Corruption:
    """A corruption.

    Attributes:
        constants: argument of `apply` for severity 1 to 5.
        apply: returns corrupted images, given images (uint8, N × 32 × 32 × 3), constants and a
            seed per image.
    """

    name: str
    constants: tuple[Any, ...]
    apply: Callable[[Bytes, Any, Seeds], Bytes]


def _snow(images: Bytes, constants: tuple[float, ...], seeds: Seeds) -> Bytes:
    """Add snow flakes: bright spots of enlarged noise with motion blur."""
    loc, scale, factor, threshold, radius, sigma, mix = constants
    generators = _generators(seeds)
    layer = np.stack([rng.normal(loc, scale, (SIDE, SIDE)) for rng in generators])
    angles = np.array([rng.uniform(-135, -45) for rng in generators])
    layer = zoom(layer, factor)
    layer[layer < threshold] = 0
    layer = motion_blur(np.clip(layer, 0, 1), int(radius), sigma, np.deg2rad(angles))

    planes = to_planes(images)
    whitened = np.maximum(planes, luma(planes) * 1.5 + 0.5)
    planes = mix * planes + (1 - mix) * whitened
    return to_bytes(planes + (layer + layer[:, ::-1, ::-1]).astype(np.float32))


def _frost(images: Bytes, constants: tuple[float, float], seeds: Seeds) -> Bytes:
    """Add a random crop of a frost texture to the darkened image."""
    keep, strength = constants
    textures = frost_textures()
    last = textures.shape[1] - SIDE
    pieces = []
    for rng in _generators(seeds):
        which, top, left = rng.integers((len(textures), last + 1, last + 1))
        pieces.append(textures[which, top : top + SIDE, left : left + SIDE])
    return to_bytes(keep * to_planes(images) + strength * np.stack(pieces).transpose(3, 0, 1, 2))


def _fog(images: Bytes, constants: tuple[float, float], seeds: Seeds) -> Bytes:
    """Add a cloud, then darken so that the maximum stays the same."""
    strength, decay = constants
    noise = np.stack([rng.uniform(-1, 1, (SIDE, SIDE)) for rng in _generators(seeds)])
    cloud = plasma(noise, decay).astype(np.float32)
    planes = to_planes(images)
    brightest = planes.max(axis=(0, 2, 3))[:, None, None]
    return to_bytes((planes + strength * cloud) * (brightest / (brightest + strength)))


def _brightness(images: Bytes, shift: float, seeds: Seeds) -> Bytes:
    """Increase V of HSV; H and S stay the same if all channels are scaled by the same factor."""
    del seeds
    planes = to_planes(images)
    value = planes.max(axis=0)
    raised = np.minimum(value + np.float32(shift), 1)
    black = value == 0
    factor = raised / np.where(black, 1, value)
    return to_bytes(np.where(black, raised, planes * factor))


def _contrast(images: Bytes, factor: float, seeds: Seeds) -> Bytes:
    """Reduce the difference to the mean of the channel."""
    del seeds
    planes = to_planes(images)
    # A sum of integers is exact in any order, so it does not depend on the batch.
    means = images.sum(axis=(1, 2), dtype=np.int64).T / (SIDE * SIDE * 255)
    means = means.astype(np.float32)[:, :, None, None]
    return to_bytes((planes - means) * np.float32(factor) + means)


def _spatter(images: Bytes, constants: tuple[float, ...], seeds: Seeds) -> Bytes:
    """Add drops of water, or of mud at high severities, where blurred noise exceeds a threshold."""
    loc, scale, sigma, threshold, strength, is_mud = constants
    layer = np.stack([rng.normal(loc, scale, (SIDE, SIDE)) for rng in _generators(seeds)])
    layer = gaussian(layer, sigma)
    layer[layer < threshold] = 0
    planes = to_planes(images)
    if is_mud:
        cover = gaussian((layer > threshold).astype(np.float64), strength).astype(np.float32)
        cover[cover < 0.8] = 0
        return to_bytes(planes * (1 - cover) + _MUD * cover)
    return to_bytes(planes + _WATER * (strength * water(layer)).astype(np.float32))


def _elastic(images: Bytes, constants: tuple[float, float, float], seeds: Seeds) -> Bytes:
    """Apply a random affine map, then a smooth random displacement of every pixel."""
    displacement, sigma, shake = constants
    generators = _generators(seeds)
    shifts = np.stack([rng.uniform(-shake, shake, (3, 2)) for rng in generators])
    noise = np.stack([rng.uniform(-1, 1, (2, SIDE, SIDE)) for rng in generators])
    planes = warp_affine(to_planes(images), shifts)
    if displacement:
        smooth = scipy.ndimage.gaussian_filter(
            noise, (0, 0, sigma, sigma), mode="reflect", truncate=3
        )
        rows, columns = np.indices((SIDE, SIDE))
        dx, dy = displacement * smooth[:, 0], displacement * smooth[:, 1]
        planes = sample(planes, rows + dy, columns + dx, fold_at_edge)
    return to_bytes(planes)


def _jpeg(images: Bytes, quality: int, seeds: Seeds) -> Bytes:
    del seeds
    corrupted = np.empty_like(images)
    for image, out in zip(images, corrupted, strict=True):
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=quality)
        with Image.open(file) as decoded:
            out[:] = np.asarray(decoded)
    return corrupted


def _pixelate(images: Bytes, share: float, seeds: Seeds) -> Bytes:
    del seeds
    small = (int(SIDE * share),) * 2
    corrupted = np.empty_like(images)
    for image, out in zip(images, corrupted, strict=True):
        blocks = Image.fromarray(image).resize(small, Image.Resampling.BOX)
        out[:] = np.asarray(blocks.resize((SIDE, SIDE), Image.Resampling.BOX))
    return corrupted


def _saturate(images: Bytes, constants: tuple[float, float], seeds: Seeds) -> Bytes:
    """Change S of HSV; H and V stay the same if distances to the maximum scale alike."""
    del seeds
    factor, shift = constants
    planes = to_planes(images)
    value = planes.max(axis=0)
    spread = value - planes.min(axis=0)
    saturation = spread / np.where(value == 0, 1, value)
    changed = np.clip(saturation * np.float32(factor) + np.float32(shift), 0, 1)
    grey = spread == 0
    distance = (value - planes) * (changed / np.where(grey, 1, saturation))
    # Grey has no hue; it counts as 0, which is red, so the red channel keeps the value.
    distance[1:] = np.where(grey, changed * value, distance[1:])
    return to_bytes(value - distance)


def _generators(seeds: Seeds) -> list[np.random.Generator]:
    return [np.random.default_rng(seed) for seed in seeds.tolist()]


CORRUPTIONS: Final[tuple[Corruption, ...]] = (
    # mean, deviation and zoom of the noise, threshold, radius and sigma of the blur, image weight
    Corruption(
        "snow",
        (
            (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
            (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
            (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
            (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
            (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
        ),
        _snow,
    ),
    # weight of the image, weight of the texture
    Corruption("frost", ((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)), _frost),
    # strength, decay
    Corruption("fog", ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)), _fog),
    # added to V
    Corruption("brightness", (0.05, 0.1, 0.15, 0.2, 0.3), _brightness),
    # factor of the difference to the mean
    Corruption("contrast", (0.75, 0.5, 0.4, 0.3, 0.15), _contrast),
    # mean, deviation and blur of the noise, threshold, strength (mud: its blur), whether mud
    Corruption(
        "spatter",
        (
            (0.62, 0.1, 0.7, 0.7, 0.5, 0),
            (0.65, 0.1, 0.8, 0.7, 0.5, 0),
            (0.65, 0.3, 1, 0.69, 0.5, 0),
            (0.65, 0.1, 0.7, 0.69, 0.6, 1),
            (0.65, 0.1, 0.5, 0.68, 0.6, 1),
        ),
        _spatter,
    ),
    # displacement, its smoothness, maximum shift of the affine map; all in pixels
    Corruption(
        "elastic",
        tuple(
            (SIDE * displacement, SIDE * sigma, SIDE * shake)
            for displacement, sigma, shake in (
                (0, 0, 0.08),
                (0.05, 0.2, 0.07),
                (0.08, 0.06, 0.06),
                (0.1, 0.04, 0.05),
                (0.1, 0.03, 0.03),
            )
        ),
        _elastic,
    ),
    # quality
    Corruption("JPEG", (80, 65, 58, 50, 40), _jpeg),
    # factor of the side length, in whole pixels
    Corruption("pixelate", (0.95, 0.9, 0.85, 0.75, 0.65), _pixelate),
    # factor of S, added to S
    Corruption("saturate", ((0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2)), _saturate),
)
CORRUPTION_NAMES: Final = tuple(corruption.name for corruption in CORRUPTIONS)
