"""Archives that lie among raw data, unpacked without trusting them.

Nothing is left to the unpacking functions of `zipfile` and `tarfile`: names and kinds of all
members are checked first, then contents are copied into files that are opened here. So the rules
are the same for every kind of archive and every version of Python.
"""

import bz2
import errno
import gzip
import io
import logging
import lzma
import re
import shutil
import stat
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, Final, cast

from debias_pipeline.errors import UserError

logger = logging.getLogger(__name__)

ARCHIVE_SUFFIXES: Final = (
    ".zip",
    ".tar",
    ".tar.gz",
    ".tgz",
    ".tar.xz",
    ".txz",
    ".tar.bz2",
    ".tbz2",
)

# The published sets unpack to less than 2 GB each.
_MOST_BYTES: Final = 50 * 1024**3
_MOST_MEMBERS: Final = 5_000_000
# Image files are compressed already, so that an archive of them hardly shrinks; text that shrinks
# hundredfold is small. A bomb does both.
_MOST_RATIO: Final = 200
_RATIO_COUNTS_FROM: Final = 256 * 1024**2
# Of what is read into memory at once: contents, or a name in a tar header.
_CHUNK: Final = 1024**2
_MOST_TAIL: Final = 64 * 1024**2

_DRIVE: Final = re.compile(r"[A-Za-z]:")
# What macOS packs along with every file.
_LITTER: Final = "__MACOSX"
_DAMAGED: Final = (
    zipfile.BadZipFile,
    tarfile.TarError,
    lzma.LZMAError,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    ValueError,
    OverflowError,
    NotImplementedError,  # a compression that this Python lacks
    RuntimeError,
)


@dataclass(frozen=True)
class _Member:
    name: str
    size: int
    is_folder: bool
    is_file: bool
    key: Any

    @property
    def place(self) -> PurePosixPath:
        # Some Windows programs write backslashes into zip files.
        return PurePosixPath(self.name.replace("\\", "/"))


class _RefusedError(Exception):
    """Why a member, or the archive, is not unpacked."""

    def __init__(self, reason: str, remedy: str = "pack the images again without it") -> None:
        super().__init__(reason)
        self.remedy = remedy


@contextmanager
def extracted(
    archive: Path, wanted: Callable[[PurePosixPath], bool] | None = None
) -> Iterator[Path]:
    """Unpack an archive into a temporary folder, which is removed afterwards.

    The folder lies where the system keeps temporary files: raw data may be on a disk that is
    read-only or slow, and TMPDIR lets people choose another place.

    Args:
        archive: .zip, .tar, .tar.gz, .tar.xz or .tar.bz2; told apart by their first bytes.
        wanted: whether a file, given by its place in the archive, is needed; None if all are.
            All are checked, and the folders of those not wanted are made all the same, so that
            the archive's layout shows.

    Yields:
        The folder. It holds folders and plain files only.

    Raises:
        UserError: if the archive is missing, damaged or locked, names a place outside itself,
            holds a link or device or one place twice, is too large, or there is no room for it.
            Nothing is written before all names and declared sizes are checked.
    """
    size = _size_of(archive)
    with tempfile.TemporaryDirectory(prefix="debias-archive-") as scratch:
        root = Path(scratch)
        current: list[str] = []
        try:
            with _opened(archive) as (members, open_member):
                checked = _checked(members, size, current)
                needed = [
                    member
                    for member in checked
                    if member.is_file and (wanted is None or wanted(member.place))
                ]
                _check_room(root, sum(member.size for member in needed))
                logger.info("Unpacking %s files of %s", f"{len(needed):,}", archive.name)
                _make_folders(root, checked)
                for member in needed:
                    current[:] = [member.name]
                    _copy(member, open_member, root / member.place)
        except (_RefusedError, *_DAMAGED) as error:
            raise _told(archive, current, error) from error
        yield root


def is_archive(path: Path) -> bool:
    """Whether the name is that of an archive that `extracted` unpacks."""
    return path.name.lower().endswith(ARCHIVE_SUFFIXES)


def archive_stem(path: Path) -> str:
    """The name without what makes it an archive: "cmnist" of cmnist.tar.gz."""
    suffix = max((s for s in ARCHIVE_SUFFIXES if path.name.lower().endswith(s)), key=len)
    return path.name[: -len(suffix)]


def archives_in(folder: Path) -> list[Path]:
    """The archives that lie in a folder itself, sorted by name; hidden files are passed over.

    Raises:
        UserError: if one is a link that leads out of the folder.
    """
    if not folder.is_dir():
        return []
    found = sorted(
        path
        for path in folder.iterdir()
        if is_archive(path) and path.is_file() and not path.name.startswith(".")
    )
    for path in found:
        if path.is_symlink() and not path.resolve().is_relative_to(folder.resolve()):
            raise UserError(
                f"{path} is a link that leads out of {folder}: put the archive itself there."
            )
    return found


def _size_of(archive: Path) -> int:
    if not archive.is_file():
        raise UserError(f"{archive} does not exist or is no file: correct the path.")
    return archive.stat().st_size


@contextmanager
def _opened(
    archive: Path,
) -> Iterator[tuple[Iterable[_Member], Callable[[_Member], IO[bytes]]]]:
    """Open an archive of any kind; members are read on demand."""
    with archive.open("rb") as file:
        start = file.read(6)
        file.seek(0)
        if start.startswith(b"PK"):
            with zipfile.ZipFile(file) as pack:
                yield _zip_members(pack), lambda member: pack.open(member.key)
            return
        with (
            cast("IO[bytes]", _Guarded(_decompressed(file, start))) as stream,
            tarfile.open(fileobj=stream, mode="r:") as tar,
        ):
            yield (
                _tar_members(tar, stream),
                lambda member: cast("IO[bytes]", tar.extractfile(member.key)),
            )


def _decompressed(file: IO[bytes], start: bytes) -> IO[bytes]:
    if start.startswith(b"\x1f\x8b"):
        return cast("IO[bytes]", gzip.GzipFile(fileobj=file))
    if start.startswith(b"BZh"):
        return bz2.BZ2File(file)
    if start.startswith(b"\xfd7zXZ\x00"):
        return lzma.LZMAFile(file)
    return file


class _Guarded(io.RawIOBase):
    """A stream that refuses to be read in large pieces.

    tarfile reads a header's long name in one piece, of whatever length the header declares: a
    small file could ask for all memory. Contents are read in chunks here, so that no honest
    archive asks for more.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def read(self, size: int = -1) -> bytes:
        if size < 0 or size > _CHUNK:
            raise _RefusedError("a header of this archive is larger than any name")
        return self._stream.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True


def _zip_members(pack: zipfile.ZipFile) -> Iterator[_Member]:
    for info in pack.infolist():
        kind = stat.S_IFMT(info.external_attr >> 16)
        is_folder = info.is_dir()
        # Programs that know no file kinds leave 0.
        is_file = not is_folder and kind in (0, stat.S_IFREG)
        yield _Member(info.filename, info.file_size, is_folder, is_file, info)
        if info.flag_bits & 1:
            raise _RefusedError("it is locked with a password", "unlock it and pack it again")


def _tar_members(tar: tarfile.TarFile, stream: IO[bytes]) -> Iterator[_Member]:
    # Yielded header by header, so that a bomb is refused before its contents are passed over.
    for info in tar:
        yield _Member(info.name, info.size, info.isdir(), info.isreg(), info)
    # tarfile takes a damaged or missing header for the end; the true end is a block of zeros.
    stream.seek(tar.offset)
    if stream.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError("it breaks off, or a header is damaged")
    # Read on to where a compressed file keeps its checksum. An honest tail is short.
    for _ in range(_MOST_TAIL // _CHUNK):
        if not stream.read(_CHUNK):
            return


def _checked(members: Iterable[_Member], archive_size: int, current: list[str]) -> list[_Member]:
    most = min(_MOST_BYTES, max(_MOST_RATIO * archive_size, _RATIO_COUNTS_FROM))
    checked: list[_Member] = []
    places: set[PurePosixPath] = set()
    total = 0
    for member in members:
        current[:] = [member.name]
        _check(member, places)
        total += member.size
        if total > most or len(checked) >= _MOST_MEMBERS:
            raise _RefusedError(
                f"what it declares to hold ({total:,} bytes so far, packed into {archive_size:,}) "
                f"is more than a set of images would take",
                "if you trust it, unpack it yourself and put the folder there",
            )
        places.add(member.place)
        if _LITTER not in member.place.parts:
            checked.append(member)
    current.clear()
    return checked


def _check(member: _Member, places: set[PurePosixPath]) -> None:
    place = member.place
    if "\0" in member.name:
        raise _RefusedError("its name is no name of a file")
    if place.is_absolute() or ".." in place.parts or _DRIVE.match(member.name):
        raise _RefusedError("it would land outside the folder that the archive is unpacked to")
    if member.is_folder:
        return
    if not member.is_file:
        raise _RefusedError("it is a link or a device, neither a file nor a folder")
    if not place.parts:
        raise _RefusedError("its name is no name of a file")
    if place in places:
        raise _RefusedError("it is there twice")


def _check_room(root: Path, needed: int) -> None:
    free = shutil.disk_usage(root).free
    if needed > free:
        raise _no_room(f"it takes {needed:,} bytes, {free:,} are free")


def _no_room(finding: str) -> _RefusedError:
    return _RefusedError(
        f"there is no room for it in {tempfile.gettempdir()}: {finding}",
        "make room, or set TMPDIR to a folder on a larger disk",
    )


def _make_folders(root: Path, members: list[_Member]) -> None:
    folders = {member.place if member.is_folder else member.place.parent for member in members}
    for folder in sorted(folders):
        (root / folder).mkdir(parents=True, exist_ok=True)


def _copy(member: _Member, open_member: Callable[[_Member], IO[bytes]], target: Path) -> None:
    left = member.size
    with open_member(member) as source, target.open("xb") as file:
        while chunk := source.read(min(_CHUNK, left + 1)):
            left -= len(chunk)
            # Declared sizes are what was checked, so they must hold.
            if left < 0:
                raise _RefusedError(f"it holds more than the {member.size:,} bytes it declares")
            file.write(chunk)
    if left:
        raise EOFError("it breaks off")


def _told(archive: Path, current: list[str], error: Exception) -> UserError:
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        error = _no_room("the disk is full")
    member = f", member {_shown(current[0])}" if current else ""
    if isinstance(error, _RefusedError):
        return UserError(f"{archive} is not unpacked{member}: {error}; {error.remedy}.")
    reason = str(error) or "it breaks off"
    return UserError(
        f"{archive} is damaged or no archive{member}: {reason}; put a whole copy there."
    )


def _shown(name: str) -> str:
    # Names come from strangers: no control characters, no endless lines.
    shown = "".join(char if char.isprintable() else "?" for char in name)
    return shown if len(shown) <= 120 else f"{shown[:117]}..."
