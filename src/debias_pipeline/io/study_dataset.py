"""A file with the trials of Optuna."""

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from kedro.io import AbstractDataset, DatasetError
from kedro.io.core import get_protocol_and_path

from debias_pipeline.errors import UserError, one_line
from debias_pipeline.io.previews import DescribedMixin
from debias_pipeline.io.storage import LOCAL

if TYPE_CHECKING:
    from optuna.storages import BaseStorage


class StudyDataset(DescribedMixin, AbstractDataset[None, "BaseStorage"]):
    """An SQLite file with the trials of Optuna, passed to the node that adds to them."""

    def __init__(self, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        """Set up.

        Args:
            filepath: a local path.
            metadata: ignored by Kedro; hooks and plugins may read it.
        """
        self._filepath, self.metadata = filepath, metadata

    def load(self) -> "BaseStorage":
        """Open the file, or create it.

        Raises:
            UserError: if the path is not local, or the file cannot be opened.
        """
        # Slow to import.
        from optuna.storages import RDBStorage
        from sqlalchemy.exc import DatabaseError

        protocol, path = get_protocol_and_path(str(self._filepath))
        if protocol != LOCAL:
            raise UserError(
                f"{self._filepath} is not on this machine, and a search needs a local file; set "
                "filepath of the catalog entry tune.study to a local path"
            )
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        try:
            return RDBStorage(f"sqlite:///{PurePosixPath(path)}")
        except DatabaseError as error:
            raise UserError(
                f"{path} cannot be opened ({one_line(error.orig or error)}); move it away to start "
                "a new search"
            ) from error

    def save(self, data: None) -> None:
        """Raise an error, as trials are added one by one.

        Raises:
            DatasetError: always.
        """
        raise DatasetError("Trials are stored during a search, not saved by a node")

    def _exists(self) -> bool:
        """Return True, as the file is created with the first trial."""
        return True

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._filepath}
