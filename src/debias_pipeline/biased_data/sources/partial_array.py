"""Image arrays in temporary files, which a killed process leaves for the next one to complete."""

import hashlib
import os
import shutil
import tempfile
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
import numpy.typing as npt
import PIL

from debias_pipeline.errors import UserError

try:
    import fcntl
except ImportError:  # Windows, where no array is continued
    fcntl = None  # type: ignore[assignment]

Images = npt.NDArray[np.uint8]

# A larger array is a memory map of a file.
MAX_IN_MEMORY: Final = 256 * 1024**2
# The file ends with the number of images that are complete, from the first one on.
_COUNT_BYTES: Final = 8


def sources_key(paths: Sequence[Path], *settings: Any) -> str:
    """Return a hash of the names, sizes and times of files, in their order, and of settings."""
    digest = hashlib.sha256(repr((settings, PIL.__version__)).encode())
    for path in paths:
        try:
            status = path.stat()
        except OSError:
            continue
        digest.update(f"{path.name}\0{status.st_size}\0{status.st_mtime_ns}\0".encode())
    return digest.hexdigest()[:16]


@dataclass
class PartialArray:
    """An array of which the first images are complete.

    Attributes:
        images: uint8, N × H × W × 3: in memory, or a memory map of a temporary file.
        complete: number of images that are complete.
    """

    images: Images
    complete: int = 0
    _path: Path | None = None
    _file: IO[bytes] | None = None

    @classmethod
    def open(cls, shape: tuple[int, ...], name: str, key: str) -> "PartialArray":
        """Return a new array, or the one that a killed process left.

        Args:
            shape: N, H, W, 3.
            name: of the data set; files that were left under this name with another key are
                removed.
            key: tells arrays of the same content, see `sources_key`.

        Raises:
            UserError: if there is not enough disk space.
        """
        n_bytes = int(np.prod(shape, dtype=object))
        if n_bytes <= MAX_IN_MEMORY:
            return cls(np.empty(shape, np.uint8))
        try:
            return _of_file(shape, n_bytes, name, key)
        except OSError as error:
            raise UserError(
                f"Not enough space for {n_bytes:,} bytes of decoded images in "
                f"{tempfile.gettempdir()} ({error.strerror}); free some space, set TMPDIR to a "
                f"folder on a larger disk, or use smaller images."
            ) from error

    def record(self, complete: int) -> None:
        """Record how many images are complete, after they have reached the disk."""
        self.complete = complete
        if self._file is not None and isinstance(self.images, np.memmap):
            self.images.flush()
            count = complete.to_bytes(_COUNT_BYTES, "little")
            os.pwrite(self._file.fileno(), count, self.images.nbytes)

    def remove_after_use(self) -> None:
        """Remove the file with the last reference to the array, or when the process exits.

        A process that is killed before leaves it.
        """
        if self._path is not None:
            weakref.finalize(self.images, self._path.unlink, missing_ok=True)


def _of_file(shape: tuple[int, ...], n_bytes: int, name: str, key: str) -> PartialArray:
    path, file = _named_file(name, key)
    if file is None:
        # Nothing remains of a file without a name, however the run ends.
        with tempfile.TemporaryFile(prefix="debias-images-") as unnamed:
            _reserve(unnamed, n_bytes)
            return PartialArray(np.memmap(unnamed, np.uint8, mode="r+", shape=shape))
    size = n_bytes + _COUNT_BYTES
    if os.fstat(file.fileno()).st_size != size:
        try:
            _reserve(file, size)
        except OSError:
            path.unlink()
            raise
    complete = int.from_bytes(os.pread(file.fileno(), _COUNT_BYTES, n_bytes), "little")
    images = np.memmap(file, np.uint8, mode="r+", shape=shape)
    return PartialArray(images, complete, path, file)


def _named_file(name: str, key: str) -> tuple[Path, IO[bytes] | None]:
    """Open and lock the file of a key, and remove other files of the name.

    The lock lasts as long as the memory map.

    Returns:
        Its path, and None if another process uses it or it is not this user's.
    """
    folder = Path(tempfile.gettempdir())
    if fcntl is None:
        return folder, None
    prefix = f"debias-images-{os.getuid()}-{name or 'images'}-"
    path = folder / f"{prefix}{key}"
    for other in folder.glob(f"{prefix}{'?' * len(key)}"):
        if other != path and (file := _locked(other)) is not None:
            other.unlink(missing_ok=True)
            file.close()
    return path, _locked(path)


def _locked(path: Path) -> IO[bytes] | None:
    try:
        number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError:
        return None
    file = os.fdopen(number, "r+b", buffering=0)
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return None
    if os.fstat(number).st_uid != os.getuid():
        file.close()
        return None
    return file


def _reserve(file: IO[bytes], n_bytes: int) -> None:
    """Reserve the disk space now: writing to a memory map on a full disk kills the process."""
    if n_bytes > shutil.disk_usage(tempfile.gettempdir()).free:
        raise OSError(None, "the disk is too small")
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, n_bytes)
    else:
        file.truncate(n_bytes)
