"""Read and write files on a local disk or remotely, by any URL that fsspec supports."""

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

import fsspec
from fsspec import AbstractFileSystem
from kedro.io.core import get_filepath_str

from debias_pipeline.errors import UserError
from debias_pipeline.files import replacing

LOCAL = "file"


def open_filesystem(
    protocol: str, credentials: Mapping[str, Any] | None, fs_args: Mapping[str, Any] | None
) -> AbstractFileSystem:
    """Return the file system of a protocol.

    Args:
        protocol: file, s3, gs, memory, …
        credentials: passed to fsspec.
        fs_args: passed to fsspec.

    Raises:
        UserError: if the protocol is unknown or the library for it is not installed.
    """
    try:
        return fsspec.filesystem(protocol, **(credentials or {}), **(fs_args or {}))
    except (ImportError, ValueError) as error:
        raise no_such_store(protocol, error) from error


def no_such_store(protocol: str, error: Exception) -> UserError:
    """Return the error for a protocol that fsspec cannot open."""
    if protocol in ("s3", "s3a") and isinstance(error, ImportError):
        return UserError(
            "s3:// needs the library s3fs; pip install 'debias-pipeline[s3]', or set root in "
            "conf/local/globals.yml to a local folder"
        )
    return UserError(
        f"{protocol}:// cannot be opened ({error}); install the library that is named, or set "
        "root in conf/local/globals.yml to another place"
    )


@contextmanager
def appearing(
    filesystem: AbstractFileSystem, protocol: str, path: PurePosixPath, scratch: Path | None = None
) -> Iterator[Path]:
    """Yield a temporary local path, and rename or upload the file to `path` on success.

    Most remote stores keep an incomplete file if writing to them fails.

    Args:
        path: final path, without the protocol.
        scratch: folder for files to upload; None is the system's folder of temporary files.

    Yields:
        The temporary path; the file does not exist yet.
    """
    if protocol == LOCAL:
        with replacing(Path(path)) as temporary:
            yield temporary
        return
    if scratch is not None:
        scratch.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=scratch) as folder:
        temporary = Path(folder) / path.name
        yield temporary
        filesystem.put_file(str(temporary), get_filepath_str(path, protocol))


@contextmanager
def downloaded(
    filesystem: AbstractFileSystem, protocol: str, path: PurePosixPath
) -> Iterator[Path]:
    """Yield a local path of a file: its own, or that of a temporary copy."""
    if protocol == LOCAL:
        yield Path(path)
        return
    with TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        filesystem.get_file(get_filepath_str(path, protocol), str(copy))
        yield copy


def cached(
    filesystem: AbstractFileSystem, protocol: str, path: PurePosixPath, folder: Path
) -> Path:
    """Return a cached local copy of a remote file, which is downloaded again if it has changed.

    The name of a copy depends on the state of the remote file, and copies appear atomically, so
    several processes can share the folder; fsspec's own caches overwrite files that others read.
    Copies of older states are removed.

    Args:
        path: path of the remote file, without the protocol.
        folder: local folder for the copies.
    """
    remote = get_filepath_str(path, protocol)
    # Listings that fsspec has cached would hide a change.
    filesystem.invalidate_cache(remote)
    url = _digest(filesystem.unstrip_protocol(remote))
    copy = folder / f"{url}-{_digest(str(filesystem.ukey(remote)))}{path.suffix}"
    if not copy.is_file():
        with replacing(copy) as temporary:
            filesystem.get_file(remote, str(temporary))
        for other in set(folder.glob(f"{url}-*")) - {copy}:
            # Windows keeps files that are mapped into memory.
            with suppress(OSError):
                other.unlink()
    return copy


def default_cache() -> Path:
    """Return the user's folder for copies of remote files."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "debias_pipeline"


def location(dataset: Any) -> str:
    """Return the local path or URL of the version of a dataset that this run loads."""
    path = get_filepath_str(dataset._get_load_path(), dataset._protocol)
    return path if dataset._protocol == LOCAL else str(dataset._fs.unstrip_protocol(path))


def versions_of(dataset: Any) -> list[str]:
    """Return the stored versions of a dataset, the oldest first; [] if it is not versioned."""
    if getattr(dataset, "_version", None) is None:
        return []
    path = get_filepath_str(dataset._filepath, dataset._protocol)
    files = dataset._fs.glob(f"{path}/*/{PurePosixPath(path).name}")
    return sorted(PurePosixPath(file).parent.name for file in files)


def unwritable_folder(dataset: Any) -> Path | None:
    """Return the folder in which the file of a local dataset cannot be created, or None."""
    if getattr(dataset, "_protocol", None) != LOCAL:
        return None
    folder = next(each for each in Path(dataset._filepath).absolute().parents if each.exists())
    return None if os.access(folder, os.W_OK | os.X_OK) else folder


@contextmanager
def local_file(dataset: Any) -> Iterator[Path]:
    """Yield a local path of a dataset's file: its own, or that of a temporary copy."""
    with downloaded(dataset._fs, dataset._protocol, dataset._get_load_path()) as path:
        yield path


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
