"""Dataset classes of kedro-datasets with atomic saving."""

from collections.abc import Sequence
from copy import copy
from pathlib import PurePosixPath
from typing import Any, ClassVar

import fsspec
import pandas as pd
from fsspec import AbstractFileSystem
from kedro_datasets.json import JSONDataset
from kedro_datasets.pandas import CSVDataset, ParquetDataset
from kedro_datasets.text import TextDataset

from debias_pipeline.io.previews import (
    DescribedMixin,
    JSONPreview,
    PlotlyPreview,
    TablePreview,
    json_preview,
    line_chart,
    table_of_metrics,
)
from debias_pipeline.io.storage import LOCAL, appearing, no_such_store
from debias_pipeline.spreadsheets import escape_formulas, unescape_formulas


class AtomicSaveMixin:
    """Make a versionable dataset class of kedro-datasets save atomically.

    These classes write to the final path, where a file stays incomplete if saving fails. So a copy
    of the dataset writes to a temporary local file, which is renamed or uploaded on success.
    """

    _protocol: str
    _fs: AbstractFileSystem

    def __init__(self, **arguments: Any) -> None:
        """Set up; the arguments are those of the class of kedro-datasets.

        Raises:
            UserError: if the library for such URLs is not installed.
        """
        try:
            super().__init__(**arguments)
        except ImportError as error:
            protocol = str(arguments["filepath"]).partition("://")[0]
            raise no_such_store(protocol, error) from error

    def save(self, data: Any) -> None:
        """Save to a temporary file, and move it to the final path on success."""
        # Kedro wraps every `save` to log and to set a new version; the wrapper of this method has
        # done both.
        save_in_place = super().save.__wrapped__  # type: ignore[misc]
        path = self._get_save_path()  # type: ignore[attr-defined]
        with appearing(self._fs, self._protocol, path) as temporary:
            local: Any = copy(self)
            local._protocol, local._fs = LOCAL, fsspec.filesystem(LOCAL)
            local._filepath, local._version = PurePosixPath(temporary.as_posix()), None
            save_in_place(local, data)
        self._invalidate_cache()  # type: ignore[attr-defined]


# kedro-datasets has no type annotations, hence the ignores.
class AtomicJSONDataset(AtomicSaveMixin, JSONDataset):  # type: ignore[misc]
    """A dataset for indented JSON in UTF-8; saving NaN or infinity raises an error."""

    DEFAULT_SAVE_ARGS: ClassVar[dict[str, Any]] = {
        "indent": 2,
        "allow_nan": False,
        "ensure_ascii": False,
    }
    DEFAULT_FS_ARGS: ClassVar[dict[str, Any]] = {
        "open_args_save": {"mode": "w", "encoding": "utf-8"}
    }

    def preview(self) -> JSONPreview:
        """Return the content for Kedro-Viz; see `previews.json_preview`."""
        return json_preview(self.load(), self.metadata)


class MetricsDataset(AtomicJSONDataset):
    """A dataset for `records.Metrics`, which Kedro-Viz shows as a table."""

    def preview(self, columns: Sequence[str] = ("accuracy",)) -> TablePreview:
        """Return the table; see `previews.table_of_metrics`."""
        return table_of_metrics(self.load(), columns)


class AtomicParquetDataset(AtomicSaveMixin, ParquetDataset):  # type: ignore[misc]
    """A dataset for pandas frames as parquet."""


class HistoryDataset(AtomicParquetDataset):
    """A dataset for the history of a training, which Kedro-Viz shows as a chart."""

    def preview(self, x: str, lines: Sequence[str], **layout: Any) -> PlotlyPreview:
        """Return the chart; see `previews.line_chart`."""
        return line_chart(self.load(), x, lines, **layout)


class AtomicTextDataset(DescribedMixin, AtomicSaveMixin, TextDataset):  # type: ignore[misc]
    """A dataset for text in UTF-8, such as an HTML page."""

    DEFAULT_FS_ARGS: ClassVar[dict[str, Any]] = {
        "open_args_save": {"mode": "w", "encoding": "utf-8"},
        "open_args_load": {"mode": "r", "encoding": "utf-8"},
    }


class SpreadsheetDataset(AtomicSaveMixin, CSVDataset):  # type: ignore[misc]
    """A dataset for pandas frames as CSV that is safe to open in a spreadsheet.

    Text that a spreadsheet would treat as a formula is saved with a leading apostrophe, which is
    removed when loading. The byte order mark tells spreadsheets that the file is UTF-8.
    """

    DEFAULT_SAVE_ARGS: ClassVar[dict[str, Any]] = {"index": False}
    DEFAULT_LOAD_ARGS: ClassVar[dict[str, Any]] = {"encoding": "utf-8-sig"}
    DEFAULT_FS_ARGS: ClassVar[dict[str, Any]] = {
        "open_args_save": {"mode": "w", "encoding": "utf-8-sig", "newline": ""}
    }

    def save(self, data: pd.DataFrame) -> None:
        """Escape formulas and save the frame."""
        super().save(escape_formulas(data))

    def load(self) -> pd.DataFrame:
        """Load the frame and remove the escapes."""
        return unescape_formulas(super().load())
