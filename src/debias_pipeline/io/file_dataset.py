"""Base class of dataset classes that store one file, on a local disk or remotely."""

from contextlib import AbstractContextManager
from copy import deepcopy
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from kedro.io import AbstractVersionedDataset, DatasetError, Version
from kedro.io.core import get_filepath_str, get_protocol_and_path

from debias_pipeline.io.storage import LOCAL, appearing, location, open_filesystem

Data = TypeVar("Data")


class FileDataset(AbstractVersionedDataset[Data, Data]):
    """One file, possibly versioned, at a local path or a URL that fsspec supports."""

    def __init__(
        self,
        filepath: str | Path | PurePosixPath,
        version: Version | None = None,
        credentials: dict[str, Any] | None = None,
        fs_args: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        """Set up.

        Args:
            filepath: a local path, or a URL such as s3://bucket/folder/file.
            version: set by Kedro if the catalog has `versioned: true`.
            credentials: passed to fsspec.
            fs_args: passed to fsspec.
            metadata: ignored by Kedro; hooks and plugins may read it.

        Raises:
            UserError: if the library for such URLs is not installed.
        """
        self._protocol, path = get_protocol_and_path(filepath, version)
        self._fs = open_filesystem(self._protocol, deepcopy(credentials), deepcopy(fs_args))
        self.metadata = metadata
        super().__init__(
            filepath=PurePosixPath(path),
            version=version,
            exists_function=self._is_stored,
            glob_function=self._fs.glob,
        )

    def _written(self, scratch: Path | None = None) -> AbstractContextManager[Path]:
        """Yield a temporary path to write to; see `appearing`."""
        return appearing(self._fs, self._protocol, self._get_save_path(), scratch)

    def _existing(self, remedy: str) -> str:
        """Return the path or URL of the file to load.

        Args:
            remedy: what to do if there is no file, for the error message.

        Raises:
            DatasetError: if there is no file.
        """
        if self._protocol != LOCAL:
            # Another machine may have written it after fsspec cached the listing.
            self._release()
        place = location(self)
        if not self._exists():
            raise DatasetError(f"{place} does not exist; {remedy}")
        return place

    def _exists(self) -> bool:
        return self._is_stored(get_filepath_str(self._get_load_path(), self._protocol))

    def _is_stored(self, path: str) -> bool:
        return bool(self._fs.isfile(path))

    def _release(self) -> None:
        super()._release()
        self._fs.invalidate_cache(get_filepath_str(self._filepath, self._protocol))

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._filepath, "protocol": self._protocol, "version": self._version}
