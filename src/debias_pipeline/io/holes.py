"""What a failed cell of the grid leaves, so that the rest goes on and it is run again."""

from pathlib import PurePosixPath
from typing import Any, Final

from kedro.io import AbstractDataset, DatasetError, Version
from kedro.io.core import VALIDATOR_KEY, VERSIONED_FLAG_KEY
from kedro.validation.core import ValidatorSpec, resolve_validator
from kedro.validation.exceptions import DataValidationError

from debias_pipeline.errors import Hole, one_line
from debias_pipeline.io.atomic import AtomicJSONDataset, AtomicTextDataset

_OF_THE_FILE: Final = (
    "_filepath",
    "_fs",
    "_protocol",
    "_version",
    "_get_load_path",
    "_get_save_path",
)


class HoleableDataset(AbstractDataset[Any, Any]):
    """A dataset that may stay empty.

    Saving a `Hole` does nothing, loading what is not there gives None, and whether it exists is
    what the dataset inside says.
    """

    def __init__(
        self,
        dataset: dict[str, Any],
        unreadable_is_hole: bool = False,
        version: Version | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        """Wrap a dataset.

        Args:
            dataset: its catalog entry, without `versioned`, which belongs to this one. A
                `validator` is applied as Kedro would.
            unreadable_is_hole: whether loading what is damaged gives a Hole that says why, in
                place of an error.
            version: given by Kedro where the catalog says `versioned: true`.
            metadata: of the catalog entry, for plugins.
        """
        config = dict(dataset)
        name = str(config["type"])
        validator = config.pop(VALIDATOR_KEY, None)
        self._validator = validator and ValidatorSpec.from_dataset_config(name, validator)
        if version is not None:
            config[VERSIONED_FLAG_KEY] = True
        load, save = version or (None, None)
        self._dataset: AbstractDataset[Any, Any] = AbstractDataset.from_config(
            name, config, load, save
        )
        self._unreadable_is_hole = unreadable_is_hole
        self.metadata = metadata

    def load(self) -> Any:
        """What is there, or None.

        Raises:
            DatasetError: if it is damaged and that is not to be a hole.
        """
        if not self._dataset.exists():
            return None
        try:
            return self._valid(self._dataset.load())
        except (DatasetError, DataValidationError) as error:
            if not self._unreadable_is_hole:
                raise
            return Hole(self._complaint(error))

    def _complaint(self, error: Exception) -> str:
        # Kedro's own words go around the cause and describe the whole dataset.
        cause = error.__cause__ if isinstance(error, DatasetError) else None
        text = one_line(cause or error)
        file = str(getattr(self._dataset, "_filepath", ""))
        return text if file in text else f"{file} cannot be read: {text}"

    def save(self, data: Any) -> None:
        """Save, unless it is a Hole."""
        if not isinstance(data, Hole):
            self._dataset.save(self._valid(data))

    def _valid(self, data: Any) -> Any:
        if self._validator is None:
            return data
        return resolve_validator(self._validator).validate(data)

    def _exists(self) -> bool:
        return bool(self._dataset.exists())

    def _release(self) -> None:
        self._dataset.release()

    def _describe(self) -> dict[str, Any]:
        return {"dataset": self._dataset._describe()}

    def __getattr__(self, name: str) -> Any:
        # Where its file lies is asked of a dataset by plug-ins and hooks.
        if name in _OF_THE_FILE:
            return getattr(self._dataset, name)
        raise AttributeError(name)


class OutcomeDataset(AtomicJSONDataset):
    """How a cell of the grid ended, as JSON.

    Only a cell that is `done` counts as there, so that Kedro runs one that failed again. What is
    not there is loaded as None.
    """

    def load(self) -> dict[str, Any] | None:
        """The outcome, also that of a failure, or None where the cell was never run."""
        if not super()._exists():
            return None
        outcome: dict[str, Any] = super().load.__wrapped__(self)
        return outcome

    def _exists(self) -> bool:
        if not super()._exists():
            return False
        outcome = self.load()
        return outcome is not None and outcome.get("status") == "done"


class ProblemDataset(AtomicTextDataset):
    """One line that says what went wrong; the file is there only while something is wrong.

    It counts as there when nothing is wrong: Kedro has no reason then to make anything again.
    """

    def load(self) -> str:
        """The line, or "" where nothing is wrong."""
        if not super()._exists():
            return ""
        text: str = super().load.__wrapped__(self)
        return text

    def save(self, data: str) -> None:
        """Note a problem, or with "" that there is none."""
        if data:
            super().save.__wrapped__(self, data)  # type: ignore[attr-defined]
        elif super()._exists():
            self._fs.rm(str(PurePosixPath(self._filepath)))
            self.release()

    def _exists(self) -> bool:
        return not super()._exists()
