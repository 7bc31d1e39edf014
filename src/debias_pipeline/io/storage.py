"""Where a file is kept: on a local disk, or in any store that fsspec knows by a URL."""

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
    """The file system of a protocol.

    Args:
        protocol: file, s3, gs, memory, …
        credentials: what fsspec needs to open it.
        fs_args: more of that.

    Raises:
        UserError: if the protocol is unknown or the library for it is not installed.
    """
    try:
        return fsspec.filesystem(protocol, **(credentials or {}), **(fs_args or {}))
    except (ImportError, ValueError) as error:
        raise no_such_store(protocol, error) from error


def no_such_store(protocol: str, error: Exception) -> UserError:
    """What to tell where fsspec cannot open a protocol."""
    if protocol in ("s3", "s3a") and isinstance(error, ImportError):
        return UserError(
            "Paths in s3:// need the library s3fs: pip install 'debias-pipeline[s3]', "
            "or set root in conf/local/globals.yml to a local folder"
        )
    return UserError(
        f"Paths in {protocol}:// cannot be opened ({error}): install the library that is named, "
        "or set root in conf/local/globals.yml to another place"
    )


@contextmanager
def appearing(
    filesystem: AbstractFileSystem, protocol: str, path: PurePosixPath, scratch: Path | None = None
) -> Iterator[Path]:
    """Lend a local name to write to, and put the file where it belongs once it is whole.

    Writing straight into a store would not do: most keep what was written before an error.

    Args:
        filesystem: of the protocol.
        protocol: of the store.
        path: where the file shall appear.
        scratch: folder for what is not yet uploaded; the system's own if None.

    Yields:
        The name to write to. No file is there yet.
    """
    if protocol == LOCAL:
        with replacing(Path(path)) as temporary:
            yield temporary
        return
    if scratch is not None:
        scratch.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=scratch) as folder:
        whole = Path(folder) / path.name
        yield whole
        filesystem.put_file(str(whole), get_filepath_str(path, protocol))


@contextmanager
def downloaded(
    filesystem: AbstractFileSystem, protocol: str, path: PurePosixPath
) -> Iterator[Path]:
    """Lend a file as a local one: itself, or a copy that is gone afterwards."""
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
    """A local copy that stays, fetched anew when the file in the store has changed.

    fsspec's own caches write to the name that others already read from. Here a copy appears
    whole, under a name of its own for every state of the file, so several processes may share
    the folder; older states are removed.

    Args:
        filesystem: of the protocol.
        protocol: of the store.
        path: of the file in it.
        folder: for copies.
    """
    remote = get_filepath_str(path, protocol)
    # Listings that fsspec remembers would hide a change.
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
    """The user's folder for copies of remote files."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "debias_pipeline"


def location(dataset: Any) -> str:
    """Where the version of a dataset that this run knows lies: a local path or a URL."""
    path = get_filepath_str(dataset._get_load_path(), dataset._protocol)
    return path if dataset._protocol == LOCAL else str(dataset._fs.unstrip_protocol(path))


def versions_of(dataset: Any) -> list[str]:
    """Return the versions of a dataset that are stored, the oldest first; [] if unversioned."""
    if getattr(dataset, "_version", None) is None:
        return []
    path = get_filepath_str(dataset._filepath, dataset._protocol)
    files = dataset._fs.glob(f"{path}/*/{PurePosixPath(path).name}")
    return sorted(PurePosixPath(file).parent.name for file in files)


def unwritable_folder(dataset: Any) -> Path | None:
    """Return the folder that keeps the file of a local dataset from being saved, or None."""
    if getattr(dataset, "_protocol", None) != LOCAL:
        return None
    folder = next(each for each in Path(dataset._filepath).absolute().parents if each.exists())
    return None if os.access(folder, os.W_OK | os.X_OK) else folder


@contextmanager
def local_file(dataset: Any) -> Iterator[Path]:
    """Lend the file of a dataset for others to read: itself, or a copy of a remote one."""
    with downloaded(dataset._fs, dataset._protocol, dataset._get_load_path()) as path:
        yield path


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
