"""Let a node write a table of raw files that cannot be used, before it fails."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
from kedro.io import AbstractDataset, DatasetError

from debias_pipeline.files import WriteBadFiles
from debias_pipeline.io.atomic import SpreadsheetDataset
from debias_pipeline.io.previews import DescribedMixin
from debias_pipeline.io.storage import location


class BadFilesDataset(DescribedMixin, AbstractDataset[None, WriteBadFiles]):
    """A CSV with the columns file and problem, passed as a function to the node that writes it."""

    def __init__(self, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        """Set up.

        Args:
            filepath: local path or URL.
            metadata: ignored by Kedro; hooks and plugins may read it.
        """
        self._filepath, self.metadata = filepath, metadata
        self._table = SpreadsheetDataset(filepath=filepath)

    def load(self) -> WriteBadFiles:
        """Return the function; without any pairs, it removes the table of an earlier run."""
        return self._write

    def save(self, data: None) -> None:
        """Raise an error, as the table is not an output of the node.

        Raises:
            DatasetError: always.
        """
        raise DatasetError("Bad files are written by the node that finds them")

    def _write(self, listed: Sequence[tuple[str, str]]) -> str:
        place = location(self._table)
        if listed:
            self._table.save(pd.DataFrame(listed, columns=["file", "problem"]))
        elif self._table.exists():
            self._table._fs.rm(place)
        return place

    def _exists(self) -> bool:
        """Return True, as the node needs no file."""
        return True

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._filepath}
