"""Decode image files to one array, as an image viewer shows them, with all cores."""

import itertools
import logging
import mmap
import os
import struct
import sys
import time
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Container, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import BITSPERSAMPLE, PHOTOMETRIC_INTERPRETATION, TiffImageFile
from tqdm import tqdm

from debias_pipeline.biased_data.sources.image_files import formats_of, problem_of
from debias_pipeline.biased_data.sources.partial_array import Images, PartialArray

logger = logging.getLogger(__name__)

Size = tuple[int, int]  # height, width

# Below the size at which Pillow warns; images of cameras are smaller.
MAX_PIXELS: Final = 80_000_000
# Without a terminal, seconds between two lines that say how many images are decoded.
SECONDS_BETWEEN_LINES: Final = 30

_CHUNK: Final = 64
# Which images of a large array are complete is recorded after this many chunks.
_CHUNKS_PER_RECORD: Final = 16
# Number of images that determine the most common size.
_SAMPLE: Final = 100
_WHITE: Final = (255, 255, 255, 255)
_ORIENTATION: Final = 0x0112
_WHITE_IS_ZERO: Final = 0  # value of the TIFF tag
_TURNS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SWAPS_SIDES: Final = 5  # orientations from this one on
_DECODE_ERRORS: Final = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    zlib.error,
    struct.error,
    OverflowError,
    KeyError,
    IndexError,
    TypeError,
    Image.DecompressionBombError,
)


class _ImageError(Exception):
    """An image cannot be used; the message follows its name."""


def image_sizes(paths: Sequence[Path], bad: dict[int, str]) -> list[Size | None]:
    """Return the size of each image as it is displayed, without decoding it.

    Args:
        paths: N files.
        bad: row → what is wrong; invalid and too large files are added.

    Returns:
        N times (height, width), or None for an invalid file.
    """
    sizes: list[Size | None] = [None] * len(paths)

    def read(row: int) -> None:
        with _opened(paths[row]) as image:
            sizes[row] = _shown_size(image)

    bad.update(_on_all_cores(read, range(len(paths))))
    return sizes


def decode_images(
    paths: Sequence[Path],
    bad: dict[int, str],
    size: Size | None = None,
    *,
    resize: bool = False,
    crop: int | None = None,
    name: str = "",
    source: Path | None = None,
) -> Images:
    """Decode images to RGB with all cores.

    16-bit images are scaled to 8 bits, transparent pixels are shown on white, images are rotated
    by their EXIF orientation, and files with several frames or pages give the first one. Colour
    profiles are not applied.

    Args:
        paths: N files.
        bad: row → what is wrong; files that cannot be decoded, or have another size, are added.
            Their pixels are undefined.
        size: H and W; None for the most common size.
        resize: whether to resize images of other sizes to `size` (bicubic, antialiased, without
            keeping the aspect ratio).
        crop: side in pixels of the central square to keep of images of `size`; None for all.
        name: of the data set, for progress and the name of a temporary file.
        source: the folder, table or archive of the files; if given, the next run that decodes the
            same files continues after an interruption.

    Returns:
        uint8, N × H × W × 3, or N × crop × crop × 3. A large array is a memory map of a temporary
        file, which is removed with the last reference.

    Raises:
        UserError: if there is not enough disk space for this file.
    """
    height, width = size or _common_size(paths)
    expected = f"{height}x{width} is expected" if size else f"others are {height}x{width}"
    kept = _central(height, width, crop)
    shape = (len(paths), *(part.stop - part.start for part in kept), 3)
    partial = PartialArray.open(shape, paths, (height, width, resize, crop), name, source)
    images, is_complete = partial.images, partial.is_complete
    if is_complete.any():
        logger.info(
            "Continue with the %s of %s images that an interrupted run has decoded",
            f"{is_complete.sum():,}",
            f"{len(paths):,}",
        )

    def decode(row: int) -> None:
        with _opened(paths[row]) as image:
            # Check the size in the header first, without decoding.
            if not resize:
                _check_size(_shown_size(image), (height, width), expected)
            pixels = _pixels(image, (height, width), resize)
            _check_size(pixels.shape[:2], (height, width), expected)
            images[row] = pixels[kept]

    numbers = itertools.count(1)

    def after_chunk(rows: Sequence[int], failed: Container[int]) -> None:
        # The next run decodes the failed ones again, so that it reports them again.
        is_complete[[row for row in rows if row not in failed]] = True
        if next(numbers) % _CHUNKS_PER_RECORD == 0:
            partial.record()

    with partial.kept_if_interrupted():
        bad.update(
            _on_all_cores(
                decode,
                np.flatnonzero(~is_complete).tolist(),
                release=lambda: _release_pages(images),
                after_chunk=after_chunk,
                title=f"Decode {name}".strip(),
            )
        )
        partial.record()
    partial.remove_after_use()
    return images


def _central(height: int, width: int, crop: int | None) -> tuple[slice, slice]:
    """Return the rows and columns of the central square, with the rounding of torchvision."""
    if crop is None:
        return slice(0, height), slice(0, width)
    top, left = round((height - crop) / 2), round((width - crop) / 2)
    return slice(top, top + crop), slice(left, left + crop)


def _common_size(paths: Sequence[Path]) -> Size:
    sample = paths[:: max(1, len(paths) // _SAMPLE)]
    sizes = [size for size in image_sizes(sample, {}) if size]
    return Counter(sizes).most_common(1)[0][0] if sizes else (0, 0)


def _check_size(found: tuple[int, ...], size: Size, expected: str) -> None:
    if found != size:
        raise _ImageError(f"is {found[0]}x{found[1]}, but {expected}")


def _on_all_cores(
    work: Callable[[int], None],
    rows: Sequence[int],
    release: Callable[[], None] | None = None,
    after_chunk: Callable[[Sequence[int], Container[int]], None] | None = None,
    title: str = "",
) -> dict[int, str]:
    """Call `work` for every row with all cores; return the messages of its errors by row.

    Args:
        work: called with a row, in any order, in a thread.
        rows: divided into chunks, each of which one thread works on.
        release: called after each chunk, in its thread.
        after_chunk: called after each chunk, in the calling thread and in the order of `rows`,
            with the rows of the chunk and those of them that failed.
        title: of a progress bar on a terminal, or of log lines; "" for none.
    """

    def work_chunk(chunk: Sequence[int]) -> dict[int, str]:
        failed = {}
        for row in chunk:
            try:
                work(row)
            except _ImageError as error:
                failed[row] = str(error)
        if release:
            release()
        return failed

    chunks = [rows[first : first + _CHUNK] for first in range(0, len(rows), _CHUNK)]
    bad: dict[int, str] = {}
    done, last_line = 0, time.monotonic()
    # Pillow releases the GIL while decoding. The filter of warnings is not thread-safe, so it is
    # set once here.
    with (
        tqdm(
            total=len(rows),
            desc=title,
            unit="image",
            disable=not title or not sys.stderr.isatty(),
            dynamic_ncols=True,
        ) as bar,
        warnings.catch_warnings(),
        ThreadPoolExecutor(os.cpu_count()) as pool,
    ):
        warnings.simplefilter("ignore")
        for chunk, failed in zip(chunks, pool.map(work_chunk, chunks), strict=True):
            bad |= failed
            if after_chunk:
                after_chunk(chunk, failed)
            bar.update(len(chunk))
            done += len(chunk)
            if title and bar.disable and time.monotonic() - last_line >= SECONDS_BETWEEN_LINES:
                last_line = time.monotonic()
                logger.info("%s: %s of %s images", title, f"{done:,}", f"{len(rows):,}")
    return bad


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Open an image file.

    Raises:
        _ImageError: if it cannot be opened, or on errors while it is open.
    """
    try:
        with Image.open(path, formats=formats_of(path)) as image:
            if image.width * image.height > MAX_PIXELS:
                raise Image.DecompressionBombError
            yield image
    except Image.DecompressionBombError as error:
        raise _ImageError(
            f"has more than {MAX_PIXELS // 1_000_000} megapixels; make it smaller"
        ) from error
    except _DECODE_ERRORS as error:
        raise _ImageError(_finding(path, error)) from error


def _finding(path: Path, error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "does not exist"
    if isinstance(error, IsADirectoryError):
        return "is a folder, not an image"
    if isinstance(error, PermissionError):
        return "cannot be read (permission denied)"
    return problem_of(path)


def _shown_size(image: Image.Image) -> Size:
    # Pillow would decode a PNG to look for an EXIF block after the pixels.
    is_late = image.format == "PNG" and "exif" not in image.info
    # Pillow rotates TIFF itself.
    turned = not is_late and image.format != "TIFF" and _orientation(image) >= _SWAPS_SIDES
    return (image.width, image.height) if turned else (image.height, image.width)


def _orientation(image: Image.Image) -> int:
    try:
        orientation = image.getexif().get(_ORIENTATION, 1)
    except _DECODE_ERRORS:  # viewers ignore a broken EXIF block
        return 1
    return orientation if isinstance(orientation, int) else 1


def _pixels(image: Image.Image, size: Size, resize: bool) -> Images:
    if resize and image.format == "JPEG":
        # Decoding a JPEG at reduced size is faster; twice the target size keeps the quality.
        image.draft(None, (2 * max(size), 2 * max(size)))
    image.load()
    shown = _rgb(image)
    turn = _TURNS.get(_orientation(image))
    if turn is not None:  # FLIP_LEFT_RIGHT is 0
        shown = shown.transpose(turn)
    height, width = size
    if resize and shown.size != (width, height):
        shown = shown.resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(shown)


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and not image.has_transparency_data:
        return image
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        return _rgb_of_deep_grey(image)
    if image.mode in ("I", "F"):
        raise _ImageError(
            "has signed or 32-bit pixels, so that its white is not known; save it with 8 bits"
        )
    if image.mode in ("LAB", "HSV"):
        raise _ImageError(f"has {image.mode} colours; save it with RGB colours")
    if not image.has_transparency_data:
        return image.convert("RGB")
    backdrop = Image.new("RGBA", image.size, _WHITE)
    return Image.alpha_composite(backdrop, image.convert("RGBA")).convert("RGB")


def _rgb_of_deep_grey(image: Image.Image) -> Image.Image:
    # Pillow's own conversion clips at 255.
    grey = np.asarray(image).astype(np.uint32)
    bits, is_inverted = 16, False
    if isinstance(image, TiffImageFile):
        bits = image.tag_v2.get(BITSPERSAMPLE, (16,))[0]
        is_inverted = image.tag_v2.get(PHOTOMETRIC_INTERPRETATION) == _WHITE_IS_ZERO
    most = 2**bits - 1
    shown = ((grey * 255 + most // 2) // most).clip(max=255).astype(np.uint8)
    if is_inverted:
        shown = 255 - shown
    if (clear := image.info.get("transparency")) is not None:
        shown[grey == clear] = 255
    return Image.fromarray(shown).convert("RGB")


def _release_pages(images: Images) -> None:
    """Free the memory of a memory map; the contents stay in its file."""
    if isinstance(images.base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        images.base.madvise(mmap.MADV_DONTNEED)
