"""Files that appear whole or not at all, also when a run is killed while it saves."""

from collections.abc import Callable
from copy import copy
from pathlib import PurePosixPath
from typing import Any, ClassVar

import fsspec
import pandas as pd
from fsspec import AbstractFileSystem
from kedro_datasets.json import JSONDataset
from kedro_datasets.pandas import CSVDataset, ParquetDataset
from kedro_datasets.text import TextDataset

from debias_pipeline.io.storage import LOCAL, appearing, no_such_store


class AtomicSaveMixin:
    """Makes a versionable dataset type of kedro-datasets save atomically.

    Those types write piece by piece to wherever they point to, and stores keep the pieces that
    came before an error. So a twin that points to a temporary local file does the writing.
    """

    _protocol: str
    _fs: AbstractFileSystem

    def __init__(self, **arguments: Any) -> None:
        """Take what the type of kedro-datasets takes.

        Raises:
            UserError: if the library for such paths is not installed.
        """
        try:
            super().__init__(**arguments)
        except ImportError as error:
            protocol = str(arguments["filepath"]).partition("://")[0]
            raise no_such_store(protocol, error) from error

    def save(self, data: Any) -> None:
        """Save to a temporary file, then move it to its place."""
        # Kedro wraps every `save` with logging and a fresh version; the subclass's own wrapper
        # has seen to both already.
        save_in_place = super().save.__wrapped__  # type: ignore[misc]
        path = self._get_save_path()  # type: ignore[attr-defined]
        with appearing(self._fs, self._protocol, path) as temporary:
            twin: Any = copy(self)
            twin._protocol, twin._fs = LOCAL, fsspec.filesystem(LOCAL)
            twin._filepath, twin._version = PurePosixPath(temporary.as_posix()), None
            save_in_place(twin, data)
        self._invalidate_cache()  # type: ignore[attr-defined]


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


# A cell that begins with one of these is a formula to a spreadsheet.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_ESCAPE = "'"


class SpreadsheetDataset(AtomicSaveMixin, CSVDataset):  # type: ignore[misc]
    """A pandas frame as CSV that a spreadsheet opens safely, with names and text as they are.

    Text that a spreadsheet would run as a formula gets an apostrophe in front, which loading takes
    away again. The byte order mark tells spreadsheets that the file is UTF-8.
    """

    DEFAULT_SAVE_ARGS: ClassVar[dict[str, Any]] = {"index": False}
    DEFAULT_LOAD_ARGS: ClassVar[dict[str, Any]] = {"encoding": "utf-8-sig"}
    DEFAULT_FS_ARGS: ClassVar[dict[str, Any]] = {
        "open_args_save": {"mode": "w", "encoding": "utf-8-sig", "newline": ""}
    }

    def save(self, data: pd.DataFrame) -> None:
        """Save, with formulas escaped."""
        super().save(_map_texts(data, _escape))

    def load(self) -> pd.DataFrame:
        """Load, with escapes removed."""
        return _map_texts(super().load(), _unescape)


def _map_texts(frame: pd.DataFrame, change: Callable[[str], str]) -> pd.DataFrame:
    def change_cell(cell: Any) -> Any:
        return change(cell) if isinstance(cell, str) else cell

    texts = frame.select_dtypes(exclude="number").columns
    changed = frame.assign(**{name: frame[name].map(change_cell) for name in texts})
    return changed.rename(columns=change_cell)


def _escape(text: str) -> str:
    return _ESCAPE + text if text.startswith((*_FORMULA, _ESCAPE)) else text


def _unescape(text: str) -> str:
    return (
        text[1:]
        if text.startswith(tuple(_ESCAPE + each for each in (*_FORMULA, _ESCAPE)))
        else text
    )
