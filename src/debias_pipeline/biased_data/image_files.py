"""Image files: found without leaving raw_dir, decoded together, all that is wrong told at once."""

import os
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from debias_pipeline.errors import UserError

# What desktops leave behind in any folder; hidden files are passed over as well.
_LITTER: Final = frozenset({"Thumbs.db", "desktop.ini"})
_SHOWN_PROBLEMS: Final = 10
_CHUNK: Final = 256
_DECODE_ERRORS: Final = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    zlib.error,
    struct.error,
    Image.DecompressionBombError,
)


def children(
    folder: Path, raw_dir: Path, place: Callable[[Path], str], problems: list[str]
) -> Iterator[Path]:
    """Yield what lies in a folder, sorted by name, litter left out.

    Args:
        folder: where to look; if there is none, nothing is yielded.
        raw_dir: what leads out of it is not yielded but complained about.
        place: how a path is told to people.
        problems: complaints are added here.
    """
    if not folder.is_dir():
        return
    if not is_inside(folder, raw_dir):
        problems.append(f"{place(folder)}: leads out of raw_dir")
        return
    with os.scandir(folder) as listing:
        found = sorted((entry.name, entry.is_symlink()) for entry in listing)
    for name, is_link in found:
        if name.startswith(".") or name in _LITTER:
            continue
        path = folder / name
        if is_link and not is_inside(path, raw_dir):
            problems.append(f"{place(path)}: leads out of raw_dir")
            continue
        yield path


def is_inside(path: Path, raw_dir: Path) -> bool:
    """Whether a path, links followed, lies in a folder."""
    try:
        return path.resolve().is_relative_to(raw_dir.resolve())
    except (OSError, RuntimeError):  # links that go in a circle
        return False


def decode_images(
    paths: Sequence[Path],
    places: Sequence[str],
    problems: list[str],
    size: tuple[int, int] | None = None,
) -> npt.NDArray[np.uint8]:
    """Decode images of one size with all cores.

    Args:
        paths: N files.
        places: N, how they are told to people.
        problems: what does not decode, or is of another size, is added here; its pixels are
            undefined.
        size: H and W; None if they are those of the first image that can be opened.

    Returns:
        uint8, N × H × W × 3, RGB.
    """
    height, width = size or _first_size(paths)
    expected = f"{height}x{width} is expected" if size else f"others are {height}x{width}"
    images = np.empty((len(paths), height, width, 3), np.uint8)

    def decode_chunk(start: int) -> list[str]:
        chunk = slice(start, start + _CHUNK)
        return [
            f"{place}: {complaint}"
            for path, place, out in zip(paths[chunk], places[chunk], images[chunk], strict=True)
            if (complaint := _decode(path, out, expected))
        ]

    # Threads, as Pillow decodes without holding the interpreter; each writes where it belongs,
    # so nothing piles up. More threads than cores only fight over the interpreter.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for complaints in pool.map(decode_chunk, range(0, len(paths), _CHUNK)):
            problems.extend(complaints)
    return images


def problems_error(folder: Path, problems: Sequence[str], remedy: str) -> UserError:
    """Tell how many problems there are, and the first ten of them.

    Args:
        folder: where.
        problems: each with its place; at least one.
        remedy: a sentence on what to do.
    """
    count = len(problems)
    shown = "; ".join(problems[:_SHOWN_PROBLEMS])
    rest = f"; and {count - _SHOWN_PROBLEMS} more" if count > _SHOWN_PROBLEMS else ""
    return UserError(
        f"{folder} has {count} problem{'s' if count > 1 else ''}: {shown}{rest}. {remedy}"
    )


def _decode(path: Path, out: npt.NDArray[np.uint8], expected: str) -> str | None:
    try:
        with Image.open(path) as image:
            # The header tells the size, so that a huge image is refused without decoding it.
            if (image.height, image.width) != out.shape[:2]:
                return f"is {image.height}x{image.width} where {expected}"
            out[:] = np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
    except _DECODE_ERRORS:
        return "does not decode as an image"
    return None


def _first_size(paths: Sequence[Path]) -> tuple[int, int]:
    for path in paths:
        try:
            with Image.open(path) as image:
                return image.height, image.width
        except _DECODE_ERRORS:
            continue
    return 0, 0
