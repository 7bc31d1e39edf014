"""Read MNIST from its four IDX files, in the layout of torchvision."""

import gzip
import math
import tempfile
import zlib
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from debias_pipeline.errors import UserError

FOLDER: Final = Path("MNIST/raw")
FILES: Final = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)

_UBYTE: Final = 8


@dataclass(frozen=True)
class GreyDigits:
    """Handwritten digits.

    Attributes:
        grey: uint8, N × H × W; 0 is the background.
        label: uint8, N, the digit.
    """

    grey: npt.NDArray[np.uint8]
    label: npt.NDArray[np.uint8]


def read_mnist(raw_dir: Path) -> tuple[GreyDigits, GreyDigits]:
    """Read the training and test images from `raw_dir`/MNIST/raw, downloading them if missing.

    Files may be plain or gzipped. The reader of torchvision is not used: it does not explain which
    file is truncated, and cannot read gzipped files from a read-only folder.

    Returns:
        Training digits and test digits.

    Raises:
        UserError: if a file is damaged, or missing and cannot be downloaded.
    """
    if any(_find(raw_dir, name) is None for name in FILES):
        _download(raw_dir)
    train = _read_digits(raw_dir, *FILES[:2])
    test = _read_digits(raw_dir, *FILES[2:])
    if train.grey.shape[1:] != test.grey.shape[1:]:
        raise UserError(
            f"{FILES[0]} and {FILES[2]} in {raw_dir / FOLDER} have images of different sizes; "
            f"replace both with the original files."
        )
    return train, test


def mnist_files(raw_dir: Path) -> list[tuple[str, Path]]:
    """Return, for each file of MNIST that exists, its name relative to `raw_dir` and its path."""
    found = [_find(raw_dir, name) for name in FILES]
    return [(f"{FOLDER.as_posix()}/{path.name}", path) for path in found if path]


def _find(raw_dir: Path, name: str) -> Path | None:
    candidates = (raw_dir / FOLDER / name, raw_dir / FOLDER / f"{name}.gz")
    return next((path for path in candidates if path.is_file()), None)


def _read_digits(raw_dir: Path, image_file: str, label_file: str) -> GreyDigits:
    grey = _read_idx(raw_dir, image_file, dimensions=3)
    label = _read_idx(raw_dir, label_file, dimensions=1)
    if len(grey) != len(label):
        raise UserError(
            f"{image_file} has {len(grey)} images but {label_file} {len(label)} labels; replace "
            f"both in {raw_dir / FOLDER} with the original files."
        )
    if len(label) and label.max() > 9:
        raise UserError(
            f"{label_file} in {raw_dir / FOLDER} is damaged, it has the label {label.max()}; "
            f"delete it and run again to download it."
        )
    return GreyDigits(grey, label)


def _read_idx(raw_dir: Path, name: str, dimensions: int) -> npt.NDArray[np.uint8]:
    path = _find(raw_dir, name) or raw_dir / FOLDER / name
    content = _read_bytes(path)
    header_size = 4 + 4 * dimensions
    if len(content) < header_size:
        raise _damaged(path, f"at least {header_size} bytes expected, {len(content)} found")
    if content[:4] != bytes((0, 0, _UBYTE, dimensions)):
        raise _damaged(path, f"it does not start like an IDX file of {dimensions} dimensions")
    shape = tuple(int(n) for n in np.frombuffer(content, ">u4", count=dimensions, offset=4))
    expected = header_size + math.prod(shape)
    if len(content) != expected:
        raise _damaged(path, f"{expected} bytes expected by its header, {len(content)} found")
    return np.frombuffer(content, np.uint8, offset=header_size).reshape(shape)


def _read_bytes(path: Path) -> bytes:
    try:
        if path.suffix == ".gz":
            with gzip.open(path) as file:
                return file.read()
        return path.read_bytes()
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise _damaged(path, f"it cannot be decompressed ({error})") from error
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({error.strerror}); check its permissions."
        ) from error


def _damaged(path: Path, finding: str) -> UserError:
    return UserError(
        f"{path} is damaged, {finding}; delete it and run again to download it, or replace it with "
        f"a complete copy."
    )


def _download(raw_dir: Path) -> None:
    from torchvision.datasets import MNIST  # takes seconds to import

    missing = [name for name in FILES if _find(raw_dir, name) is None]
    try:
        raw_dir.mkdir(parents=True, exist_ok=True)
        # Complete files are moved at the end, so that a failed download leaves nothing.
        with tempfile.TemporaryDirectory(dir=raw_dir, prefix=".mnist-") as scratch:
            MNIST(scratch, download=True)
            (raw_dir / FOLDER).mkdir(parents=True, exist_ok=True)
            for name in missing:
                (Path(scratch) / FOLDER / name).replace(raw_dir / FOLDER / name)
    except (RuntimeError, OSError, HTTPException) as error:
        raise UserError(
            f"MNIST is not in {raw_dir / FOLDER} (missing: {', '.join(missing)}) and could not be "
            f"downloaded ({error}); put the four IDX files there, or set raw_dir=… to the folder "
            f"that contains MNIST/raw, or use dataset=cmnist_mini, which needs no files."
        ) from error
