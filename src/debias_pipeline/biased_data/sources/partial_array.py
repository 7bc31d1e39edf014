"""Image arrays in temporary files, which an interrupted run leaves for the next one to complete."""

import hashlib
import logging
import os
import shutil
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
import numpy.typing as npt
import PIL

from debias_pipeline import __version__
from debias_pipeline.errors import UserError

try:
    import fcntl
except ImportError:  # Windows, where no array is continued
    fcntl = None  # type: ignore[assignment]

Images = npt.NDArray[np.uint8]

logger = logging.getLogger(__name__)

# A larger array is a memory map of a file.
MAX_IN_MEMORY: Final = 256 * 1024**2


@dataclass
class PartialArray:
    """An array of which some images are complete.

    Attributes:
        images: uint8, N × H × W × 3: in memory, or a memory map of a temporary file.
        is_complete: bool, N.
    """

    images: Images
    is_complete: npt.NDArray[np.bool_]
    _path: Path | None = None
    _file: IO[bytes] | None = None

    @classmethod
    def open(
        cls,
        shape: tuple[int, ...],
        paths: Sequence[Path],
        settings: Sequence[Any] = (),
        name: str = "",
        source: Path | None = None,
    ) -> "PartialArray":
        """Return a new array, or the one that an interrupted run left.

        Args:
            shape: N, H, W, 3.
            paths: N files that are decoded.
            settings: what the pixels depend on besides the files.
            name: part of the name of the temporary file. Files of this name that runs with other
                images left are removed.
            source: the folder, table or archive of the files; None if the array is not continued
                after an interruption.

        Raises:
            UserError: if there is not enough disk space.
        """
        n_bytes = int(np.prod(shape, dtype=object))
        if n_bytes <= MAX_IN_MEMORY:
            return cls(np.empty(shape, np.uint8), np.zeros(len(paths), np.bool_))
        if source is not None and fcntl is not None:
            path, file = _named_file(name, _key(source, paths, (shape, *settings)))
            if file is not None:
                return cls._of_file(path, file, shape, n_bytes)
        # Nothing remains of a file without a name, however the run ends.
        with tempfile.TemporaryFile(prefix="debias-images-") as unnamed:
            _reserve(unnamed, n_bytes)
            images = np.memmap(unnamed, np.uint8, mode="r+", shape=shape)
        return cls(images, np.zeros(len(paths), np.bool_))

    @classmethod
    def _of_file(
        cls, path: Path, file: IO[bytes], shape: tuple[int, ...], n_bytes: int
    ) -> "PartialArray":
        # The file ends with a byte per image, 1 if it is complete.
        size = n_bytes + shape[0]
        if os.fstat(file.fileno()).st_size != size:
            try:
                _reserve(file, size)
            except UserError:
                path.unlink()
                raise
        is_complete = np.frombuffer(os.pread(file.fileno(), shape[0], n_bytes), np.bool_).copy()
        return cls(np.memmap(file, np.uint8, mode="r+", shape=shape), is_complete, path, file)

    def record(self) -> None:
        """Record which images are complete, after they have reached the disk."""
        if self._file is None or not isinstance(self.images, np.memmap):
            return
        try:
            self.images.flush()
            os.pwrite(self._file.fileno(), self.is_complete.tobytes(), self.images.nbytes)
        except OSError as error:
            self._file = None
            logger.warning(
                "Cannot record in %s which images are decoded (%s); if this run is interrupted, "
                "the next one decodes the images since the last record again",
                self._path,
                error.strerror,
            )

    @contextmanager
    def kept_if_interrupted(self) -> Iterator[None]:
        """Keep the file if the body of `with` is interrupted; remove it on other errors."""
        try:
            yield
        except KeyboardInterrupt:
            if self._path is not None:
                self.record()
                logger.warning(
                    "%s of %s images are decoded and stay in %s; the same command continues with "
                    "them. Delete this file if you do not need it",
                    f"{self.is_complete.sum():,}",
                    f"{len(self.is_complete):,}",
                    self._path,
                )
            raise
        except BaseException:
            if self._path is not None:
                self._path.unlink(missing_ok=True)
            raise

    def remove_after_use(self) -> None:
        """Remove the file with the last reference to the array, or when the process exits.

        A process that is killed before leaves it.
        """
        if self._path is not None:
            weakref.finalize(self.images, self._path.unlink, missing_ok=True)


def _key(source: Path, paths: Sequence[Path], settings: tuple[Any, ...]) -> str:
    """Return a hash of the source, the files in it (path, size and time), and the settings."""
    versions = __version__, PIL.__version__
    digest = hashlib.sha256(repr((str(source.resolve()), settings, versions)).encode())
    # An archive is unpacked to another temporary folder each time.
    top = os.path.commonpath({path.parent for path in paths})
    for path in paths:
        try:
            status = path.stat()
        except OSError:
            continue
        place = path.relative_to(top)
        digest.update(os.fsencode(f"{place}\0{status.st_size}\0{status.st_mtime_ns}\0"))
    return digest.hexdigest()[:16]


def _named_file(name: str, key: str) -> tuple[Path, IO[bytes] | None]:
    """Open and lock the file of a key, and remove other files of the name.

    The lock lasts as long as the memory map.

    Returns:
        Its path, and None if another process uses it or it is not this user's.
    """
    folder = Path(tempfile.gettempdir())
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
    """Reserve the disk space now: writing to a memory map on a full disk kills the process.

    Raises:
        UserError: if there is not enough of it.
    """
    folder = tempfile.gettempdir()
    try:
        if n_bytes > shutil.disk_usage(folder).free:
            raise OSError(None, "the disk is too small")
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, n_bytes)
        else:
            file.truncate(n_bytes)
    except OSError as error:
        raise UserError(
            f"Not enough space for {n_bytes:,} bytes of decoded images in {folder} "
            f"({error.strerror}); free some space, set TMPDIR to a folder on a larger disk, or "
            f"use smaller images."
        ) from error
