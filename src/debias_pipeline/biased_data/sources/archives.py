"""Unpack archives of raw data that may come from anywhere.

`tarfile` and `zipfile` read and write the files. They check neither the total size nor links
within the archive, and strip or rename unsafe paths, so all members are checked here first.
"""

import errno
import logging
import lzma
import shutil
import stat
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, Final

from debias_pipeline.errors import UserError

logger = logging.getLogger(__name__)

_SUFFIXES: Final = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2", ".tbz2")

# The published data sets unpack to less than 2 GB each.
_MAX_BYTES: Final = 50 * 1024**3
_MAX_MEMBERS: Final = 5_000_000
# Images are compressed already, so an archive of images that unpacks to many times its size is a
# decompression bomb, unless it is small.
_MAX_RATIO: Final = 200
_RATIO_APPLIES_FROM: Final = 256 * 1024**2
# tarfile reads the contents of such a header into memory at once.
_EXTENDED_HEADERS: Final = frozenset(
    {tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK}
    | {tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE}
)
_MAX_HEADER_BYTES: Final = 1024**2
_MAX_PADDING_BYTES: Final = 64 * 1024**2
_MORE_SPACE: Final = "free some space, or set TMPDIR to a folder on a larger disk"
_READ_ERRORS: Final = (
    *(zipfile.BadZipFile, tarfile.TarError, lzma.LZMAError, zlib.error, struct.error),
    *(EOFError, OSError, ValueError, OverflowError, RuntimeError),
)


class _RefusedError(Exception):
    """The archive is not unpacked; the message ends with what to do."""


class _TarInfo(tarfile.TarInfo):
    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "_TarInfo":
        info = super().frombuf(buf, encoding, errors)
        if info.type in _EXTENDED_HEADERS and info.size > _MAX_HEADER_BYTES:
            raise _RefusedError(f"a header of {info.size:,} bytes is too large; pack it again")
        return info


@dataclass(frozen=True)
class _Member:
    place: PurePosixPath
    size: int
    is_folder: bool
    is_file: bool
    info: Any


@contextmanager
def extracted(
    archive: Path, wanted: Callable[[PurePosixPath], bool] | None = None
) -> Iterator[Path]:
    """Unpack an archive into a temporary folder, which is removed afterwards.

    Set TMPDIR to choose where the temporary folder is created.

    Args:
        archive: .zip, .tar, .tar.gz, .tar.xz or .tar.bz2, recognised by its content.
        wanted: whether to unpack a file, given by its path in the archive; default: all files.
            All members are checked and all folders are created in any case.

    Yields:
        The folder, which holds folders and regular files only.

    Raises:
        UserError: if the archive is missing, damaged or encrypted, has unsafe paths, links, devices
            or duplicate paths, is too large, or does not fit on the disk. Nothing is written before
            all members are checked.
    """
    if not archive.is_file():
        raise UserError(f"{archive} is not a file; correct the path.")
    with tempfile.TemporaryDirectory(prefix="debias-archive-") as folder:
        root = Path(folder)
        try:
            _unpack(archive, root, wanted)
        except _RefusedError as error:
            raise UserError(f"{archive} was not unpacked: {error}.") from error
        except _READ_ERRORS as error:
            if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                raise UserError(f"{archive} was not unpacked: disk full; {_MORE_SPACE}.") from error
            reason = _printable(str(error) or "unexpected end")
            raise UserError(
                f"{archive} is damaged or not an archive ({reason}); replace it with a complete "
                f"copy."
            ) from error
        yield root


def archive_stem(path: Path) -> str:
    """Return the name without the suffix of the archive, e.g. "cmnist" for cmnist.tar.gz."""
    suffix = max((s for s in _SUFFIXES if path.name.lower().endswith(s)), key=len)
    return path.name[: -len(suffix)]


def archives_in(folder: Path) -> list[Path]:
    """Return the archives directly in a folder, sorted by name, without hidden files.

    Raises:
        UserError: if an archive is a link that leads out of the folder.
    """
    if not folder.is_dir():
        return []
    found = sorted(
        path
        for path in folder.iterdir()
        if path.name.lower().endswith(_SUFFIXES)
        and path.is_file()
        and not path.name.startswith(".")
    )
    for path in found:
        if path.is_symlink() and not path.resolve().is_relative_to(folder.resolve()):
            raise UserError(f"{path} is a link that leads out of {folder}; copy the archive there.")
    return found


def _unpack(
    archive: Path, root: Path, wanted: Callable[[PurePosixPath], bool] | None = None
) -> None:
    with _opened(archive) as (pack, members):
        checked = _checked(members, archive.stat().st_size)
        files = [m for m in checked if m.is_file and (wanted is None or wanted(m.place))]
        size, free = sum(m.size for m in files), shutil.disk_usage(root).free
        if size > free:
            raise _RefusedError(f"it needs {size:,} bytes, but {free:,} are free; {_MORE_SPACE}")
        logger.info("Unpacking %s files of %s", f"{len(files):,}", archive.name)
        for place in sorted({m.place if m.is_folder else m.place.parent for m in checked}):
            (root / place).mkdir(parents=True, exist_ok=True)
        for member in files:
            pack.extract(member.info, root)


@contextmanager
def _opened(archive: Path) -> Iterator[tuple[Any, Iterator[_Member]]]:
    with archive.open("rb") as file:
        is_zip = file.read(2) == b"PK"
    if is_zip:
        with zipfile.ZipFile(archive) as pack:
            yield pack, _zip_members(pack)
    else:
        with tarfile.open(archive, tarinfo=_TarInfo) as tar:
            # Python 3.11.3 and earlier lack it; `_checked` refuses unsafe members anyway.
            tar.extraction_filter = getattr(tarfile, "data_filter", None)
            yield tar, _tar_members(tar)


def _zip_members(pack: zipfile.ZipFile) -> Iterator[_Member]:
    for info in pack.infolist():
        if info.flag_bits & 1:
            raise _RefusedError("it is encrypted with a password; pack it again without one")
        # Some Windows programs separate folders by backslashes and leave the file type 0.
        info.filename = info.filename.replace("\\", "/")
        kind = stat.S_IFMT(info.external_attr >> 16)
        is_file = not info.is_dir() and kind in (0, stat.S_IFREG)
        yield _Member(PurePosixPath(info.filename), info.file_size, info.is_dir(), is_file, info)


def _tar_members(tar: tarfile.TarFile) -> Iterator[_Member]:
    # Yielded one by one, so that a bomb is refused before its contents are decompressed.
    for info in tar:
        info.name = info.name.replace("\\", "/")
        yield _Member(PurePosixPath(info.name), info.size, info.isdir(), info.isreg(), info)
    # tarfile takes a truncated or damaged header for the end, which is a block of zeros.
    assert tar.fileobj is not None
    tar.fileobj.seek(tar.offset)
    if tar.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError("unexpected end, or a damaged header")
    # Reading to the end makes the decompressor verify its checksum.
    tar.fileobj.read(_MAX_PADDING_BYTES)


def _checked(members: Iterator[_Member], archive_size: int) -> list[_Member]:
    """Check all members; return those to unpack."""
    limit = min(_MAX_BYTES, max(_MAX_RATIO * archive_size, _RATIO_APPLIES_FROM))
    checked: list[_Member] = []
    places: set[PurePosixPath] = set()
    total = 0
    for member in members:
        if problem := _problem(member, places):
            name = _printable(str(member.place))
            raise _RefusedError(f"member {name} {problem}; pack the images again without it")
        total += member.size
        if total > limit or len(places) >= _MAX_MEMBERS:
            raise _RefusedError(
                f"it unpacks to {total:,} bytes or more from {archive_size:,}, which is too large; "
                f"if you trust it, unpack it yourself and use the folder"
            )
        places.add(member.place)
        if "__MACOSX" not in member.place.parts:  # metadata that macOS adds
            checked.append(member)
    return checked


def _problem(member: _Member, places: set[PurePosixPath]) -> str | None:
    place = member.place
    if place.is_absolute() or ".." in place.parts or PureWindowsPath(place).drive:
        return "has a path outside of the archive"
    if member.is_folder:
        return None
    if not member.is_file:
        return "is a link or a device"
    if not place.parts or "\0" in str(place):
        return "has an invalid name"
    return "occurs twice" if place in places else None


def _printable(text: str) -> str:
    shown = "".join(char if char.isprintable() else "?" for char in text)
    return shown if len(shown) <= 200 else f"{shown[:197]}..."
