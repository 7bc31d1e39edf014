"""Store snapshots of training runs in one folder per settings, at any URL of fsspec."""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from filelock import FileLock, Timeout
from kedro.io import AbstractDataset, DatasetError
from kedro.io.core import get_filepath_str, get_protocol_and_path

from debias_pipeline.errors import AlreadyRunningError, one_line
from debias_pipeline.io.previews import DescribedMixin
from debias_pipeline.io.safetensors_dataset import SafetensorsDataset
from debias_pipeline.io.storage import LOCAL, appearing, open_filesystem

if TYPE_CHECKING:
    from torch import Tensor

logger = logging.getLogger(__name__)

_SUFFIX: Final = ".safetensors"
_FINGERPRINT: Final = "fingerprint.json"


class SnapshotFolder:
    """The snapshots of one training run; see `training.snapshot.SnapshotFolder`."""

    def __init__(
        self, url: str, fs_args: Mapping[str, Any], fingerprint: Mapping[str, Any] | None = None
    ) -> None:
        """Set up.

        Args:
            url: a local path or a URL; the folder is created with the first snapshot.
            fs_args: passed to fsspec.
            fingerprint: the settings of the run, saved with the first snapshot, so that runs with
                other settings can name the difference; None to only read or delete snapshots.
        """
        self._url, self._fs_args, self._fingerprint = url, dict(fs_args), fingerprint
        self._protocol, path = get_protocol_and_path(url)
        self._path = PurePosixPath(path)
        self._fs = open_filesystem(self._protocol, None, self._fs_args)

    def location(self) -> str:
        """Return the path or URL of the folder."""
        return self._url

    def names(self) -> Sequence[str]:
        """Return the names of the snapshots, oldest first."""
        return sorted(
            PurePosixPath(file).stem for file in self._files() if str(file).endswith(_SUFFIX)
        )

    def write(
        self, name: str, tensors: "Mapping[str, Tensor]", metadata: Mapping[str, Any]
    ) -> None:
        """Write a snapshot atomically.

        Raises:
            OSError: if it cannot be written, such as on a full disk.
        """
        # Convert metadata to text: it may contain NaN, which the dataset rejects.
        described = {"json": json.dumps(metadata)}
        if self._fingerprint is not None and not self._fs.exists(self._file(_FINGERPRINT)):
            with appearing(self._fs, self._protocol, self._path / _FINGERPRINT) as file:
                file.write_text(json.dumps(self._fingerprint, indent=1))
        try:
            self._dataset(name).save({"tensors": dict(tensors), "metadata": described})
        except DatasetError as error:
            # Kedro wraps errors of writing; an error about invalid content has no cause.
            if error.__cause__ is None:
                raise
            raise OSError(one_line(error.__cause__)) from error

    def read(self, name: str) -> "tuple[Mapping[str, Tensor], Mapping[str, Any]] | None":
        """Return tensors and metadata of a snapshot, or None if the file cannot be read."""
        try:
            content = self._dataset(name).load()
            return content["tensors"], json.loads(content["metadata"]["json"])
        except (DatasetError, KeyError, ValueError):
            return None

    def set_aside(self, name: str) -> str:
        """Rename a snapshot so that `names` no longer lists it; return its new path."""
        old = self._file(name + _SUFFIX)
        self._fs.mv(old, f"{old}.damaged")
        return f"{self._url}/{name}{_SUFFIX}.damaged"

    def remove(self, name: str) -> None:
        """Delete a snapshot."""
        self._fs.rm(self._file(name + _SUFFIX))

    def clear(self) -> None:
        """Delete the folder."""
        folder = get_filepath_str(self._path, self._protocol)
        if self._fs.exists(folder):
            self._fs.rm(folder, recursive=True)

    def fingerprint(self) -> Mapping[str, Any] | None:
        """Return the settings of the run, or None if it has no snapshot."""
        try:
            text = self._fs.cat_file(self._file(_FINGERPRINT)).decode()
            found = json.loads(text)
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) and self.names() else None

    def _dataset(self, name: str) -> SafetensorsDataset:
        return SafetensorsDataset(f"{self._url}/{name}{_SUFFIX}", fs_args=self._fs_args)

    def _file(self, name: str) -> str:
        return get_filepath_str(self._path / name, self._protocol)

    def _files(self) -> Sequence[str]:
        self._fs.invalidate_cache(get_filepath_str(self._path, self._protocol))
        try:
            return list(self._fs.ls(get_filepath_str(self._path, self._protocol), detail=False))
        except (FileNotFoundError, NotADirectoryError):
            return []


class SnapshotStore:
    """The snapshots of a method on a data set; see `training.snapshot.SnapshotStore`."""

    def __init__(self, url: str, fs_args: Mapping[str, Any]) -> None:
        """Set up; for the arguments see `SnapshotFolder`."""
        self._url, self._fs_args = url, fs_args
        self._protocol, path = get_protocol_and_path(url)
        self._path = PurePosixPath(path)

    def folder(self, digest: str, fingerprint: Mapping[str, Any]) -> SnapshotFolder:
        """Return the folder of the runs with these settings."""
        return SnapshotFolder(f"{self._url}/{digest}", self._fs_args, fingerprint)

    def other_fingerprints(self, digest: str) -> Mapping[str, Mapping[str, Any]]:
        """Return the settings of other interrupted runs by the path of their snapshots."""
        found = {}
        for name in SnapshotFolder(self._url, self._fs_args)._files():
            folder = SnapshotFolder(f"{self._url}/{PurePosixPath(name).name}", self._fs_args)
            other = None if folder._path.name == digest else folder.fingerprint()
            if other is not None:
                found[folder.location()] = other
        return found

    @contextmanager
    def exclusive(self, digest: str) -> Iterator[None]:
        """Keep other processes of this machine from training with the same settings.

        The lock is released when the process ends, also if it is killed. Remote stores, and folders
        in which the lock file cannot be created, are not locked. Temporary files of a killed
        process are removed.

        Raises:
            AlreadyRunningError: if another process trains with the same settings.
        """
        lock = self._acquired(digest)
        try:
            yield
            if lock is not None:
                Path(lock.lock_file).unlink(missing_ok=True)
        finally:
            if lock is not None:
                lock.release()

    def _acquired(self, digest: str) -> FileLock | None:
        if self._protocol != LOCAL:
            return None
        lock = FileLock(str(Path(self._path) / f"{digest}.lock"))
        try:
            Path(self._path).mkdir(parents=True, exist_ok=True)
        except OSError:
            # Writing the first snapshot will fail with a warning.
            return None
        try:
            lock.acquire(timeout=0)
            for leftover in Path(self._path, digest).glob(".*tmp*"):
                leftover.unlink()
        except Timeout as error:
            raise AlreadyRunningError(
                f"Another process trains with the same settings (it holds {lock.lock_file}); wait "
                "for it to end, or change a setting, such as seed"
            ) from error
        except (OSError, NotImplementedError) as error:
            logger.warning(
                "%s cannot be locked (%s); a second process with the same settings will not be "
                "detected", self._url, one_line(error),
            )  # fmt: skip
            return None
        return lock

    def clear(self, digest: str) -> None:
        """Delete the snapshots of runs with these settings."""
        SnapshotFolder(f"{self._url}/{digest}", self._fs_args).clear()


class SnapshotsDataset(DescribedMixin, AbstractDataset[None, SnapshotStore]):
    """A folder for snapshots of training runs, passed to the node that trains."""

    def __init__(
        self,
        filepath: str,
        fs_args: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        """Set up.

        Args:
            filepath: local path or URL of the folder.
            fs_args: passed to fsspec.
            metadata: ignored by Kedro; hooks and plugins may read it.
        """
        self._filepath, self._fs_args = filepath, fs_args or {}
        self.metadata = metadata

    def load(self) -> SnapshotStore:
        """Return the store."""
        return SnapshotStore(str(self._filepath), self._fs_args)

    def save(self, data: None) -> None:
        """Raise an error, as snapshots are written during training.

        Raises:
            DatasetError: always.
        """
        raise DatasetError("Snapshots are written during training, not saved by a node")

    def _exists(self) -> bool:
        """Return True, as the folder is created with the first snapshot."""
        return True

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._filepath}
