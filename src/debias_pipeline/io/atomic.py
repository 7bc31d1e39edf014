"""Files that appear whole or not at all, also when a run is killed while it saves."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar
from uuid import uuid4

from kedro_datasets.json import JSONDataset
from kedro_datasets.pandas import ParquetDataset
from kedro_datasets.text import TextDataset


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Lend a name to write to, and move the file to `path` once it is whole.

    The name lies in the same folder, as only a move within one file system is atomic. On an error
    the file is removed, and so are the folders that were made for it; `path` stays as it was.

    Args:
        path: where the file shall appear; its folder is made if need be.

    Yields:
        The name to write to. No file is there yet.
    """
    made = [folder for folder in path.parents if not folder.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid4().hex}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        # A folder that somebody else has put a file in meanwhile stays.
        with suppress(OSError):
            for folder in made:
                folder.rmdir()
        raise


class AtomicSaveMixin:
    """Makes a versionable dataset type of kedro-datasets save atomically.

    Those types write to wherever `_get_save_path` says. While saving, it says a temporary name;
    at all other times the final one, which `MlflowArtifactDataset` asks for to log the file.
    Remote stores show a file only once it is whole, so nothing changes for them.
    """

    _protocol: str
    _temporary: PurePosixPath | None = None

    def save(self, data: Any) -> None:
        """Save to a temporary name beside the final one, then rename."""
        # Kedro wraps every `save` with logging and a fresh version; the subclass's own wrapper
        # has seen to both already.
        save_in_place = super().save.__wrapped__  # type: ignore[misc]
        if self._protocol != "file":
            save_in_place(self, data)
            return
        with replacing(Path(self._get_save_path())) as temporary:
            self._temporary = PurePosixPath(temporary.as_posix())
            try:
                save_in_place(self, data)
            finally:
                self._temporary = None

    def _get_save_path(self) -> PurePosixPath:
        if self._temporary is not None:
            return self._temporary
        path: PurePosixPath = super()._get_save_path()  # type: ignore[misc]
        return path


# kedro-datasets ships no types, hence the ignores.
class AtomicJSONDataset(AtomicSaveMixin, JSONDataset):  # type: ignore[misc]
    """JSON that any reader accepts: UTF-8, indented, and an error in place of NaN or infinity."""

    DEFAULT_SAVE_ARGS: ClassVar[dict[str, Any]] = {
        "indent": 2,
        "allow_nan": False,
        "ensure_ascii": False,
    }
    DEFAULT_FS_ARGS: ClassVar[dict[str, Any]] = {
        "open_args_save": {"mode": "w", "encoding": "utf-8"}
    }


class AtomicParquetDataset(AtomicSaveMixin, ParquetDataset):  # type: ignore[misc]
    """A pandas frame as parquet."""


class AtomicTextDataset(AtomicSaveMixin, TextDataset):  # type: ignore[misc]
    """Text such as an HTML page, in UTF-8."""

    DEFAULT_FS_ARGS: ClassVar[dict[str, Any]] = {
        "open_args_save": {"mode": "w", "encoding": "utf-8"},
        "open_args_load": {"mode": "r", "encoding": "utf-8"},
    }
