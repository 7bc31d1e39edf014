"""The catalog of a run, a module of its own, as Kedro imports it at every start."""

from collections.abc import Iterable
from typing import Any

from kedro.io import DataCatalog


class RunCatalog(DataCatalog):
    """A catalog that reports outdated results as missing until the run saves them again.

    `kedro run --only-missing-outputs` asks the catalog which outputs exist. Results of other
    settings must not count as outputs of this run.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """See `DataCatalog`."""
        super().__init__(*args, **kwargs)
        self._outdated: set[str] = set()

    def mark_outdated(self, names: Iterable[str]) -> None:
        """Report datasets as missing until they are saved."""
        self._outdated.update(names)

    def exists(self, ds_name: str) -> bool:
        """Return whether data of a dataset exists and is up to date."""
        return ds_name not in self._outdated and super().exists(ds_name)

    def save(self, ds_name: str, data: Any) -> None:
        """Save data and mark the dataset as up to date."""
        super().save(ds_name, data)
        self._outdated.discard(ds_name)
