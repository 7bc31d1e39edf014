"""Image files → one array, with all cores and bounded memory, as a viewer would show them."""

import mmap
import os
import shutil
import struct
import tempfile
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Final, cast

import numpy as np
import numpy.typing as npt
from PIL import Image

from debias_pipeline.errors import UserError

Images = npt.NDArray[np.uint8]
Size = tuple[int, int]  # height, width

# Named one by one, as Pillow knows formats that run other programs (EPS).
_FORMATS: Final = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "PPM")
IMAGE_SUFFIXES: Final = frozenset(
    {".png", ".jpg", ".jpeg", ".jpe", ".gif", ".webp", ".bmp", ".tif", ".tiff"}
    | {".ppm", ".pgm", ".pbm"}
)
# Below the size at which Pillow begins to warn, so that it never does; cameras stay below it.
MOST_PIXELS: Final = 80_000_000

_CHUNK: Final = 64
# So many images vote on the size of all.
_SAMPLE: Final = 100
# An array larger than this lives in a file.
_MOST_IN_MEMORY: Final = 256 * 1024**2
_WHITE: Final = (255, 255, 255, 255)
_ORIENTATION: Final = 0x0112
_TURNS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SWAPS_SIDES: Final = 5  # this orientation and those above
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


class _UnfitError(Exception):
    """Why a file is not taken."""


def image_sizes(
    paths: Sequence[Path], places: Sequence[str], problems: list[str]
) -> list[Size | None]:
    """Read how large each image is as it would be shown, from the beginning of its file.

    Args:
        paths: N files.
        places: N, how they are told to people.
        problems: what is no image, empty or too large is added here.

    Returns:
        N times (height, width), or None where something is wrong.
    """
    sizes: list[Size | None] = [None] * len(paths)

    def read(row: int) -> str | None:
        try:
            with _opened(paths[row]) as image:
                sizes[row] = _shown_size(image)
        except _UnfitError as error:
            return f"{places[row]}: {error}"
        return None

    problems.extend(_on_all_cores(read, len(paths)))
    return sizes


def decode_images(
    paths: Sequence[Path],
    places: Sequence[str],
    problems: list[str],
    size: Size | None = None,
    *,
    resize: bool = False,
) -> Images:
    """Decode images to RGB with all cores.

    Grey images and palettes come out in their colours, 16-bit ones in their upper eight bits,
    what is transparent on white (as on most pages), turned as their EXIF says, and of an
    animation its first picture. Colour profiles are not applied.

    Args:
        paths: N files.
        places: N, how they are told to people.
        problems: what does not decode, or is of another size, is added here; its pixels are
            undefined.
        size: H and W; None if they are those of most images.
        resize: whether to bring images of other sizes to `size`: the whole image, its sides
            scaled apart (bicubic, antialiased).

    Returns:
        uint8, N × H × W × 3. A large array is a memory map of a file that the system removes with
        the last reference to it.

    Raises:
        UserError: if there is no room for that file.
    """
    height, width = size or _common_size(paths)
    expected = f"{height}x{width} is expected" if size else f"others are {height}x{width}"
    images = _new_array((len(paths), height, width, 3))

    def decode(row: int) -> str | None:
        try:
            with _opened(paths[row]) as image:
                # The header tells the size, so that it is refused without decoding it.
                if not resize:
                    _check_size(_shown_size(image), (height, width), expected)
                pixels = _pixels(image, (height, width), resize)
                _check_size(pixels.shape[:2], (height, width), expected)
                images[row] = pixels
        except _UnfitError as error:
            return f"{places[row]}: {error}"
        return None

    problems.extend(_on_all_cores(decode, len(paths), lambda: _let_go(images)))
    return images


def _common_size(paths: Sequence[Path]) -> Size:
    sample = paths[:: max(1, len(paths) // _SAMPLE)]
    sizes = [size for size in image_sizes(sample, [""] * len(sample), []) if size]
    return Counter(sizes).most_common(1)[0][0] if sizes else (0, 0)


def _check_size(found: tuple[int, ...], size: Size, expected: str) -> None:
    if found != size:
        raise _UnfitError(f"is {found[0]}x{found[1]} where {expected}")


def _on_all_cores(
    work: Callable[[int], str | None], count: int, after_chunk: Callable[[], None] | None = None
) -> Iterator[str]:
    """Work on every row; yield the complaints in the order of rows."""

    def work_chunk(chunk: Iterable[int]) -> list[str]:
        complaints = [complaint for row in chunk if (complaint := work(row))]
        if after_chunk:
            after_chunk()
        return complaints

    chunks = [range(count)[start : start + _CHUNK] for start in range(0, count, _CHUNK)]
    # Threads, as Pillow decodes without holding the interpreter. More threads than cores only
    # fight over it. The warning's filter is set here, once: it is not safe to set it in threads.
    with warnings.catch_warnings(), ThreadPoolExecutor(os.cpu_count()) as pool:
        warnings.simplefilter("ignore")
        for complaints in pool.map(work_chunk, chunks):
            yield from complaints


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Open an image whose header promises that it can be decoded.

    Raises:
        _UnfitError: if not, or if anything goes wrong while it is open.
    """
    try:
        with Image.open(path, formats=_FORMATS) as image:
            if image.width * image.height > MOST_PIXELS:
                raise Image.DecompressionBombError
            yield image
    except Image.DecompressionBombError as error:
        raise _UnfitError(
            f"has more than {MOST_PIXELS // 1_000_000} megapixels: make it smaller"
        ) from error
    except _DECODE_ERRORS as error:
        raise _UnfitError(_finding(path, error)) from error


def _finding(path: Path, error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "does not exist"
    if isinstance(error, IsADirectoryError):
        return "is a folder, not an image"
    if isinstance(error, PermissionError):
        return "may not be read"
    with suppress(OSError):
        if path.stat().st_size == 0:
            return "is empty (0 bytes)"
    return "does not decode as an image"


def _shown_size(image: Image.Image) -> Size:
    # Pillow decodes a PNG to look for an EXIF block behind the pixels; here that can wait.
    is_late = image.format == "PNG" and "exif" not in image.info
    # Pillow has seen to it for TIFF.
    turned = not is_late and image.format != "TIFF" and _orientation(image) >= _SWAPS_SIDES
    return (image.width, image.height) if turned else (image.height, image.width)


def _orientation(image: Image.Image) -> int:
    try:
        orientation = image.getexif().get(_ORIENTATION, 1)
    except _DECODE_ERRORS:  # a viewer passes over a broken EXIF block
        return 1
    return orientation if isinstance(orientation, int) else 1


def _pixels(image: Image.Image, size: Size, resize: bool) -> Images:
    if resize and image.format == "JPEG":
        # A JPEG decodes to a fraction of its size at a fraction of the time. Twice the size asked
        # for leaves no trace after resizing.
        image.draft(None, (2 * max(size), 2 * max(size)))
    image.load()
    shown = _rgb(image)
    turn = _TURNS.get(_orientation(image))
    if turn is not None:  # one of them is 0
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
        raise _UnfitError("has 32-bit pixels, which no two viewers show alike: save it with 8 bits")
    if not image.has_transparency_data:
        return image.convert("RGB")
    backdrop = Image.new("RGBA", image.size, _WHITE)
    return Image.alpha_composite(backdrop, image.convert("RGBA")).convert("RGB")


def _rgb_of_deep_grey(image: Image.Image) -> Image.Image:
    # Pillow's own conversion cuts off at 255.
    grey = np.asarray(image).astype(np.uint32)
    return Image.fromarray(((grey * 255 + 32_767) // 65_535).astype(np.uint8)).convert("RGB")


def _new_array(shape: tuple[int, ...]) -> Images:
    n_bytes = int(np.prod(shape, dtype=object))
    if n_bytes <= _MOST_IN_MEMORY:
        return np.empty(shape, np.uint8)
    try:
        # The file has no name, or loses it at once: nothing is left behind, however the run ends.
        with tempfile.TemporaryFile(prefix="debias-images-") as file:
            _reserve(file, n_bytes)
            return np.memmap(file, np.uint8, mode="r+", shape=shape)
    except OSError as error:
        raise UserError(
            f"There is no room for {n_bytes:,} bytes of decoded images in "
            f"{tempfile.gettempdir()} ({error.strerror}): make room, set TMPDIR to a folder on a "
            f"larger disk, or take smaller images."
        ) from error


def _reserve(file: IO[bytes], n_bytes: int) -> None:
    """Make a file that long, or fail now: a full disk under a memory map kills the process."""
    if n_bytes > shutil.disk_usage(tempfile.gettempdir()).free:
        raise OSError(None, "the disk is too small")
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, n_bytes)
    else:
        file.truncate(n_bytes)


def _let_go(images: Images) -> None:
    """Hand pages of the file behind a memory map back to the system; it keeps their content."""
    if isinstance(images, np.memmap) and hasattr(mmap, "MADV_DONTNEED"):
        cast(Any, images)._mmap.madvise(mmap.MADV_DONTNEED)
