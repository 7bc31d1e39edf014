"""Ten corruptions of CIFAR-10-C, each of a whole batch of images at once.

Definitions and constants are those of CIFAR-10-C (Hendrycks & Dietterich, "Benchmarking Neural
Network Robustness to Common Corruptions and Perturbations", ICLR 2019, arXiv 1903.12261), which
are tuned to images of 32 × 32. Four things differ:

- Frost lays a texture over the image. CIFAR-10-C crops it from five photographs of frosted glass,
  which are not ours to ship; here five textures are computed instead (`_frost_textures`).
- Snow and spatter keep fractions where CIFAR-10-C rounds to whole levels on the way through other
  libraries, except where rounding belongs to the definition (edges, equalised histogram).
- Elastic interpolates at exact places, where OpenCV rounds them to 1/32 pixel; the distances in
  spatter are exact, where OpenCV's are those of a 5 × 5 mask.
- Random numbers come from NumPy's Generator, one stream an image, so an image's corruption
  depends neither on its neighbours in the batch nor on the number of threads.

Held against OpenCV, scikit-image and SciPy image by image with the same random numbers (not part
of the tests, to spare their installation): snow, brightness and saturate differ by one level at
most, spatter too once OpenCV's distances are exact, elastic by four.

Inside, images are planes: float32, 3 × N × 32 × 32 in 0..1, since NumPy is slow along a short last
axis.
"""

import io
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

Bytes = npt.NDArray[np.uint8]
# float32 or float64: what a corruption computes in is a matter of speed, not of its contract.
Floats = npt.NDArray[Any]
Seeds = npt.NDArray[np.uint64]

SIDE: Final = 32
SEVERITIES: Final = (1, 2, 3, 4, 5)
# Between the cells of a contact sheet, in pixels.
SHEET_GAP: Final = 2

# Small enough for a chunk's float copies to stay near the processor.
_CHUNK: Final = 256
# In levels: keeps one that arithmetic left a hair below itself from being cut to the next lower.
_HAIR: Final = 1e-3
_GREY_WEIGHTS: Final = (0.299, 0.587, 0.114)
_FROST_SEED: Final = 32
# Spatter: both colours as CIFAR-10-C gives them, 8-bit RGB.
_WATER: Final = np.array([175, 238, 238], np.float32).reshape(3, 1, 1, 1) / 255
_MUD: Final = np.array([63, 42, 20], np.float32).reshape(3, 1, 1, 1) / 255
_WEAK_EDGE: Final = 50
_STRONG_EDGE: Final = 150
# In pixels; what lies farther from an edge counts as this far.
_FARTHEST: Final = 20
_BOX: Final = np.full((3, 3), 1 / 9)
_EMBOSS: Final = np.array([(-2, -1, 0), (-1, 1, 1), (0, 1, 2)])
_SOBEL: Final = np.array([(-1, 0, 1), (-2, 0, 2), (-1, 0, 1)])


@dataclass(frozen=True)
class Corruption:
    """One way to spoil images.

    Attributes:
        name: for people.
        constants: for severity 1 to 5, what `apply` takes.
        apply: from images (uint8, N × 32 × 32 × 3), constants and a seed for each image to
            corrupted images of the same shape and type.
    """

    name: str
    constants: tuple[Any, ...]
    apply: Callable[[Bytes, Any, Seeds], Bytes]


def corrupt(images: Bytes, name: str, severity: int, rng: np.random.Generator) -> Bytes:
    """Corrupt all images in the same way.

    Corrupting them one by one with the same generator gives the same bytes.

    Args:
        images: uint8, N × 32 × 32 × 3, RGB.
        name: one of `CORRUPTION_NAMES`.
        severity: 1 to 5.
        rng: gives each image its seed.

    Returns:
        uint8, N × 32 × 32 × 3; `images` stays as it was.

    Raises:
        ValueError: if `name`, `severity`, or the shape or type of `images` is none of these.
    """
    if name not in CORRUPTION_NAMES:
        raise ValueError(f"No corruption {name!r}: choose one of {', '.join(CORRUPTION_NAMES)}")
    corrupted = images.copy()
    corrupt_each(corrupted, np.full(len(images), CORRUPTION_NAMES.index(name)), severity, rng)
    return corrupted


def corrupt_each(
    images: Bytes,
    kinds: npt.NDArray[np.integer[Any]],
    severity: int,
    rng: np.random.Generator,
) -> None:
    """Corrupt every image in a way of its own, in place, so that a large set is kept only once.

    Args:
        images: uint8, N × 32 × 32 × 3, RGB; written over.
        kinds: int, N, indices into `CORRUPTIONS`.
        severity: 1 to 5.
        rng: gives each image its seed.

    Raises:
        ValueError: if `kinds`, `severity`, or the shape or type of `images` is none of these.
    """
    if severity not in SEVERITIES:
        raise ValueError(f"severity={severity} is not one of {SEVERITIES}")
    if images.dtype != np.uint8 or images.shape[1:] != (SIDE, SIDE, 3):
        raise ValueError(
            f"Images must be uint8, N x 32 x 32 x 3, not {images.dtype} {images.shape}"
        )
    if not set(np.unique(kinds)) <= set(range(len(CORRUPTIONS))):
        raise ValueError(f"Kinds must be in 0..{len(CORRUPTIONS) - 1}")
    seeds = rng.integers(2**63, size=len(images), dtype=np.uint64)

    def work(task: tuple[Corruption, npt.NDArray[np.intp]]) -> None:
        corruption, rows = task
        constants = corruption.constants[severity - 1]
        images[rows] = corruption.apply(images[rows], constants, seeds[rows])

    tasks = [
        (corruption, rows[start : start + _CHUNK])
        for kind, corruption in enumerate(CORRUPTIONS)
        for rows in [np.flatnonzero(kinds == kind)]
        for start in range(0, len(rows), _CHUNK)
    ]
    # Threads, as NumPy, SciPy and Pillow work mostly without holding the interpreter.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(work, tasks):
            pass


def contact_sheet(images: Bytes, seed: int) -> Bytes:
    """Show every corruption at every severity.

    Args:
        images: uint8, N × 32 × 32 × 3, RGB: a few examples.
        seed: of the corruptions; a row's random layers are the same at every severity.

    Returns:
        uint8, H × W × 3, white between cells. Row r, beginning at pixel r × (32 + `SHEET_GAP`), is
        `CORRUPTIONS[r]`; a column is the clean image or severity 1 to 5, and these six are
        repeated to the right for each further image.
    """
    rows = []
    for index, name in enumerate(CORRUPTION_NAMES):
        # image by image: clean, then severity 1 to 5
        cells = np.stack(
            [images]
            + [
                corrupt(images, name, severity, np.random.default_rng((seed, index)))
                for severity in SEVERITIES
            ],
            axis=1,
        ).reshape(-1, SIDE, SIDE, 3)
        framed = np.pad(
            cells, ((0, 0), (0, SHEET_GAP), (0, SHEET_GAP), (0, 0)), constant_values=255
        )
        rows.append(np.concatenate(list(framed), axis=1))
    return np.concatenate(rows)[:-SHEET_GAP, :-SHEET_GAP]


def _snow(images: Bytes, constants: tuple[float, ...], seeds: Seeds) -> Bytes:
    """Flakes are bright spots of enlarged noise, drawn out into streaks that fall."""
    loc, scale, zoom, threshold, radius, sigma, mix = constants
    generators = _generators(seeds)
    layer = np.stack([rng.normal(loc, scale, (SIDE, SIDE)) for rng in generators])
    angles = np.array([rng.uniform(-135, -45) for rng in generators])
    layer = _zoom(layer, zoom)
    layer[layer < threshold] = 0
    layer = _motion_blur(np.clip(layer, 0, 1), int(radius), sigma, np.deg2rad(angles))

    planes = _to_planes(images)
    whitened = np.maximum(planes, _grey(planes) * 1.5 + 0.5)
    planes = mix * planes + (1 - mix) * whitened
    return _to_bytes(planes + (layer + layer[:, ::-1, ::-1]).astype(np.float32))


def _frost(images: Bytes, constants: tuple[float, float], seeds: Seeds) -> Bytes:
    """A piece of a frosted pane, cut out at random, over the dimmed image."""
    keep, strength = constants
    textures = _frost_textures()
    last = textures.shape[1] - SIDE
    pieces = []
    for rng in _generators(seeds):
        which, top, left = rng.integers((len(textures), last + 1, last + 1))
        pieces.append(textures[which, top : top + SIDE, left : left + SIDE])
    return _to_bytes(keep * _to_planes(images) + strength * np.stack(pieces).transpose(3, 0, 1, 2))


def _fog(images: Bytes, constants: tuple[float, float], seeds: Seeds) -> Bytes:
    """A cloud over the image, then darkened so that its brightest level stays what it was."""
    strength, decay = constants
    noise = np.stack([rng.uniform(-1, 1, (SIDE, SIDE)) for rng in _generators(seeds)])
    cloud = _plasma(noise, decay).astype(np.float32)
    planes = _to_planes(images)
    brightest = planes.max(axis=(0, 2, 3))[:, None, None]
    return _to_bytes((planes + strength * cloud) * (brightest / (brightest + strength)))


def _brightness(images: Bytes, shift: float, seeds: Seeds) -> Bytes:
    """Raise V of HSV; with H and S kept, all channels grow by the same factor."""
    del seeds
    planes = _to_planes(images)
    value = planes.max(axis=0)
    raised = np.minimum(value + np.float32(shift), 1)
    black = value == 0
    factor = raised / np.where(black, 1, value)
    return _to_bytes(np.where(black, raised, planes * factor))


def _contrast(images: Bytes, factor: float, seeds: Seeds) -> Bytes:
    """Shrink what a level differs from its channel's mean over the image."""
    del seeds
    planes = _to_planes(images)
    # A sum of whole numbers is exact in any order, so it can't depend on the batch.
    means = images.sum(axis=(1, 2), dtype=np.int64).T / (SIDE * SIDE * 255)
    means = means.astype(np.float32)[:, :, None, None]
    return _to_bytes((planes - means) * np.float32(factor) + means)


def _spatter(images: Bytes, constants: tuple[float, ...], seeds: Seeds) -> Bytes:
    """Drops of water, or at high severities of mud, where blurred noise passes a threshold."""
    loc, scale, sigma, threshold, strength, is_mud = constants
    layer = np.stack([rng.normal(loc, scale, (SIDE, SIDE)) for rng in _generators(seeds)])
    layer = _gaussian(layer, sigma)
    layer[layer < threshold] = 0
    planes = _to_planes(images)
    if is_mud:
        cover = _gaussian((layer > threshold).astype(np.float64), strength).astype(np.float32)
        cover[cover < 0.8] = 0
        return _to_bytes(planes * (1 - cover) + _MUD * cover)
    return _to_bytes(planes + _WATER * (strength * _water(layer)).astype(np.float32))


def _elastic(images: Bytes, constants: tuple[float, float, float], seeds: Seeds) -> Bytes:
    """A random affine map, then a smooth random displacement of every pixel."""
    displacement, sigma, shake = constants
    generators = _generators(seeds)
    shifts = np.stack([rng.uniform(-shake, shake, (3, 2)) for rng in generators])
    noise = np.stack([rng.uniform(-1, 1, (2, SIDE, SIDE)) for rng in generators])
    planes = _warp_affine(_to_planes(images), shifts)
    if displacement:
        smooth = ndimage.gaussian_filter(noise, (0, 0, sigma, sigma), mode="reflect", truncate=3)
        rows, columns = np.indices((SIDE, SIDE))
        dx, dy = displacement * smooth[:, 0], displacement * smooth[:, 1]
        planes = _sample(planes, rows + dy, columns + dx, _fold_at_edge)
    return _to_bytes(planes)


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
    """Change S of HSV; with H and V kept, every channel's distance to the largest scales alike."""
    del seeds
    factor, shift = constants
    planes = _to_planes(images)
    value = planes.max(axis=0)
    spread = value - planes.min(axis=0)
    saturation = spread / np.where(value == 0, 1, value)
    changed = np.clip(saturation * np.float32(factor) + np.float32(shift), 0, 1)
    grey = spread == 0
    distance = (value - planes) * (changed / np.where(grey, 1, saturation))
    # Grey has no hue; it counts as 0, which is red: that channel keeps the value.
    distance[1:] = np.where(grey, changed * value, distance[1:])
    return _to_bytes(value - distance)


def _generators(seeds: Seeds) -> list[np.random.Generator]:
    return [np.random.default_rng(seed) for seed in seeds.tolist()]


def _to_planes(images: Bytes) -> Floats:
    planes = np.ascontiguousarray(images.transpose(3, 0, 1, 2)).astype(np.float32)
    planes /= 255
    return planes


def _to_bytes(planes: Floats) -> Bytes:
    """Cut off fractions of levels, as CIFAR-10-C does."""
    levels = np.clip(planes, 0, 1) * np.float32(255) + np.float32(_HAIR)
    return np.ascontiguousarray(levels.astype(np.uint8).transpose(1, 2, 3, 0))


def _grey(planes: Floats) -> Floats:
    red, green, blue = _GREY_WEIGHTS
    grey: Floats = red * planes[0] + green * planes[1] + blue * planes[2]
    return grey


def _gaussian(layer: Floats, sigma: float) -> Floats:
    blurred: Floats = ndimage.gaussian_filter(layer, (0, sigma, sigma), mode="nearest", truncate=4)
    return blurred


def _zoom(layer: Floats, factor: float) -> Floats:
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


def _motion_blur(
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


def _plasma(noise: Floats, decay: float) -> Floats:
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


def _water(layer: Floats) -> Floats:
    """How much light drops of water throw, N × 32 × 32, at most 1 in each image."""
    liquid = (np.minimum(layer, 1) * 255).astype(np.uint8)
    distance = np.minimum(_distance(_edges(liquid)), _FARTHEST)
    relief = _equalise((_correlate(distance, _BOX, "reflect") + _HAIR).astype(np.uint8))
    relief = np.clip(_correlate(relief, _EMBOSS, "reflect"), 0, 255)
    light = liquid * np.rint(_correlate(relief, _BOX, "reflect"))
    most = light.max(axis=(1, 2), keepdims=True)
    shine: Floats = light / np.where(most == 0, 1, most)
    return shine


def _edges(liquid: Bytes) -> npt.NDArray[np.bool_]:
    """Canny's edges: the crests of the gradient that hang together with a strong one."""
    levels = liquid.astype(np.int32)
    dx = _correlate(levels, _SOBEL, "edge")
    dy = _correlate(levels, _SOBEL.T, "edge")
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


def _correlate(layer: npt.NDArray[Any], kernel: npt.NDArray[Any], mode: Any) -> npt.NDArray[Any]:
    """Correlate each layer (N × 32 × 32) with a 3 × 3 kernel; `mode` pads as in numpy.pad."""
    padded = np.pad(layer, ((0, 0), (1, 1), (1, 1)), mode=mode)
    total = np.zeros(layer.shape, np.result_type(layer, kernel))
    for (row, column), weight in np.ndenumerate(kernel):
        if weight:
            total += weight * padded[:, row : row + SIDE, column : column + SIDE]
    return total


def _warp_affine(planes: Floats, shifts: npt.NDArray[np.float64]) -> Floats:
    """Map three points of each image to shifted places, and the rest along with them.

    Args:
        planes: 3 × N × 32 × 32.
        shifts: N × 3 × 2, (right, down) in pixels, of the points (26, 26), (26, 6) and (6, 6).
    """
    centre, reach = SIDE // 2, SIDE // 3
    signs = np.array([(1, 1), (1, -1), (-1, -1)])
    points = np.concatenate([centre + reach * signs, np.ones((3, 1))], axis=1)
    moved = points + np.pad(shifts, ((0, 0), (0, 0), (0, 1)))
    # Backwards: from where a pixel comes to lie to where it came from.
    back = np.linalg.inv(moved) @ points
    rows, columns = np.indices((SIDE, SIDE))
    (xx, xy), (yx, yy), (x0, y0) = (back[:, i, :2].T[:, :, None, None] for i in range(3))
    return _sample(
        planes, xy * columns + yy * rows + y0, xx * columns + yx * rows + x0, _fold_at_centre
    )


def _sample(
    planes: Floats,
    rows: npt.NDArray[np.float64],
    columns: npt.NDArray[np.float64],
    fold: Callable[[npt.NDArray[np.intp]], npt.NDArray[np.intp]],
) -> Floats:
    """Look images up between pixels, linearly.

    Args:
        planes: 3 × N × 32 × 32.
        rows: N × 32 × 32, where to look.
        columns: likewise.
        fold: brings pixel numbers outside the image back into it.
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


def _fold_at_centre(places: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """Mirror at the middle of the outermost pixels, which are not repeated."""
    within = places % (2 * SIDE - 2)
    return np.minimum(within, 2 * SIDE - 2 - within)


def _fold_at_edge(places: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """Mirror at the outer edge, so that the outermost pixels are repeated."""
    within = places % (2 * SIDE)
    return np.minimum(within, 2 * SIDE - 1 - within)


@cache
def _frost_textures() -> npt.NDArray[np.float32]:
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


CORRUPTIONS: Final[tuple[Corruption, ...]] = (
    # mean, deviation and zoom of the noise, threshold, radius and sigma of the blur, share kept
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
    # share of the image, share of the texture
    Corruption("frost", ((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)), _frost),
    # strength, decay
    Corruption("fog", ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)), _fog),
    # added to V
    Corruption("brightness", (0.05, 0.1, 0.15, 0.2, 0.3), _brightness),
    # share of the difference from the mean that is left
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
    # displacement, its smoothness, reach of the affine map; all in pixels
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
    # share of the side that is left, in whole pixels
    Corruption("pixelate", (0.95, 0.9, 0.85, 0.75, 0.65), _pixelate),
    # factor of S, added to S
    Corruption("saturate", ((0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2)), _saturate),
)
CORRUPTION_NAMES: Final = tuple(corruption.name for corruption in CORRUPTIONS)
