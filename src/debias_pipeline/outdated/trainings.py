"""Compare trainings on disk and their data with the settings and the data of a run."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, Protocol, cast, runtime_checkable

from kedro.pipeline import Pipeline

from debias_pipeline.biased_data import get_dataset
from debias_pipeline.errors import UserError
from debias_pipeline.grid import (
    SETTING_ENTRIES,
    Catalog,
    Trial,
    grid_command,
    load_or_none,
    trials_of,
)
from debias_pipeline.methods import method_names
from debias_pipeline.nested import changes
from debias_pipeline.networks import weights_hash
from debias_pipeline.records import DataCard, DataIdentity
from debias_pipeline.reporting import data_command, training_command
from debias_pipeline.training import data_difference

# At most this many differing settings are named in a log line.
_MAX_SHOWN: Final = 3


@runtime_checkable
class _SharedImages(Protocol):
    """A dataset of images that several data cards share."""

    def has_other_labels(self) -> bool:
        """Return whether the data card belongs to other images; False if it is not known."""


@dataclass(frozen=True)
class Data:
    """A data set of a run.

    Attributes:
        prefix: prefix of its catalog entries, such as `cmnist_1pct.` in a grid.
        title: name of the data set in messages.
        card: data card on disk, or None.
        raw_hash: hash of the current raw files; None if there are none or they were not read.
        has_other_images: whether the images on disk differ from those of the data card, as a run
            with another choice of the label or the bias has made them again, from other raw files
            or by other code; False if it is not known.
    """

    prefix: str
    title: str
    card: Mapping[str, Any] | None
    raw_hash: str | None
    has_other_images: bool

    @property
    def has_changed(self) -> bool:
        """Return whether the raw files differ from those that the data on disk was made from.

        False if there is no data on disk, or if the hash of the raw files is unknown.
        """
        if self.card is None or self.raw_hash is None:
            return False
        return self.card.get("raw_hash") != self.raw_hash

    def difference(self, trained_on: Mapping[str, Any], is_remade: bool) -> str | None:
        """Return how the data differs from that of an earlier training, or None.

        Args:
            trained_on: `data` of the training record.
            is_remade: whether the run makes the data again; then only raw files are compared,
                as they are if there is no data on disk.
        """
        if not trained_on.get("content_hash"):
            return "the data it was trained on is not recorded"
        if self.has_other_images:
            return "its images have changed"
        if self.card is None or is_remade:
            same = trained_on.get("raw_hash") == self.raw_hash
            return None if same else "the raw data has changed"
        return data_difference(cast(DataIdentity, trained_on), cast(DataCard, self.card))


@dataclass(frozen=True)
class Training:
    """A method that a run trains on a data set.

    Attributes:
        name: name of the method, or of the trial in a grid.
        data: the data set.
        settings: what the training record must contain, except for the data.
    """

    name: str
    data: Data
    settings: Mapping[str, Any]

    def difference(self, catalog: Catalog, is_remade: bool) -> str | None:
        """Compare the training on disk with the settings and the data of the run.

        Args:
            catalog: catalog of the run.
            is_remade: whether the run makes the data again; then only raw files are compared.

        Returns:
            The differences as text, "" if there are none, or None if there is no training on disk.
        """
        name = f"{self.name}.training_record"
        if not catalog.exists(name):
            return None
        record = load_or_none(catalog, name)
        if record is None:
            return "its training record cannot be read"
        differences = [*_differences(record, self.settings)]
        if difference := self.data.difference(record.get("data", {}), is_remade):
            differences.append(difference)
        more = len(differences) - _MAX_SHOWN
        return ", ".join(differences[:_MAX_SHOWN]) + (f" and {more} more" if more > 0 else "")


def check_raw_data(
    pipeline: Pipeline, catalog: Catalog, parameters: Mapping[str, Any]
) -> str | None:
    """Return a warning if raw data has changed and the pipeline does not make the data again."""
    if not set(SETTING_ENTRIES) & pipeline.inputs():
        return None
    try:
        data = _ordinary_data(catalog, parameters, hash_raw=True)
    except UserError as error:
        return f"Raw data could not be read ({error}); the data set on disk is used unchanged"
    if not data.has_changed:
        return None
    return (
        f"The raw data of {data.title} has changed since the data set was made; this run uses the "
        f"data set unchanged. To make it again: {remedy(None, parameters)}"
    )


def check_trained_on(pipeline: Pipeline, catalog: Catalog, parameters: Mapping[str, Any]) -> None:
    """Check that the images, labels and methods that the pipeline reads belong together.

    Raises:
        UserError: if the labels are those of other images, or a method was trained on other data.
    """
    read = pipeline.inputs()
    for setting in dict.fromkeys(trial.setting for trial in trials_of(parameters)):
        if f"{setting}.images" in read:
            of_setting = {**parameters, **parameters[setting]}
            data = _data(catalog, f"{setting}.", setting, of_setting, hash_raw=False)
            _check_images(data, grid_command("benchmark", parameters, "--only-missing-outputs"))
    if not set(SETTING_ENTRIES) & read:
        return
    data = _ordinary_data(catalog, parameters, hash_raw=False)
    _check_images(data, remedy(None, parameters))
    if data.card is None:
        return
    for method in method_names():
        if not any(name.startswith(f"{method}.") for name in read):
            continue
        record = load_or_none(catalog, f"{method}.training_record") or {}
        if difference := data_difference(record.get("data", {}), cast(DataCard, data.card)):
            raise UserError(
                f"{method} was trained on other data: {difference}; train again: "
                f"{remedy(method, parameters)}"
            )


def _check_images(data: Data, command: str) -> None:
    if data.has_other_images:
        raise UserError(
            f"The labels of {data.title} belong to other images than those on disk; make the data "
            f"again: {command}"
        )


def remedy(method: str | None, parameters: Mapping[str, Any]) -> str:
    """Return the command that makes what a run of these parameters lacks.

    Args:
        method: the method to train; None if only the data set is missing.
        parameters: parameters of the run.
    """
    typed: dict[str, Any] = parameters["typed"]
    if method is None:
        return data_command("ingestion", typed)
    seeds = {
        key: parameters[key]
        for key, default in (("seed", 0), ("seeds", 1))
        if parameters[key] != default
    }
    return training_command(method, {**typed, **seeds})


def data_and_trainings(
    pipeline: Pipeline, catalog: Catalog, parameters: Mapping[str, Any]
) -> Iterator[tuple[Data, list[Training]]]:
    """Yield each data set that the pipeline uses, with the trainings on it that it runs."""
    outputs = pipeline.all_outputs()
    # Trainings often share a weights file.
    hash_once = cache(weights_hash)

    def settings_of(
        recipe: Mapping[str, Any] | None, seeds: Iterable[int], precision: str
    ) -> dict[str, Any]:
        return {
            "recipe": recipe,
            "seeds": [*seeds],
            "precision": precision,
            "weights_hash": hash_once((recipe or {}).get("weights", "none")),
        }

    if set(SETTING_ENTRIES) & pipeline.datasets():
        data = _ordinary_data(catalog, parameters, hash_raw="images" in outputs)
        seeds = range(parameters["seed"], parameters["seed"] + parameters["seeds"])
        precision = parameters["precision"]
        yield (
            data,
            [
                Training(method, data, settings_of(parameters[method]["recipe"], seeds, precision))
                for method in method_names()
                if f"{method}.training_record" in outputs
            ],
        )
    settings: dict[str, list[Trial]] = {}
    for trial in trials_of(parameters):
        if f"{trial.name}.outcome" in outputs:
            settings.setdefault(trial.setting, []).append(trial)
    for name, trials in settings.items():
        data = _data(
            catalog,
            f"{name}.",
            name,
            {**parameters, **parameters[name]},
            hash_raw=f"{name}.images" in outputs,
        )
        yield (
            data,
            [
                Training(each.name, data, settings_of(each.recipe, each.seeds, each.precision))
                for each in trials
            ],
        )


def _ordinary_data(catalog: Catalog, parameters: Mapping[str, Any], *, hash_raw: bool) -> Data:
    title = get_dataset(parameters["dataset"]).title(
        parameters["percent"], Path(parameters["raw_dir"])
    )
    return _data(catalog, "", title, parameters, hash_raw=hash_raw)


def _data(
    catalog: Catalog,
    prefix: str,
    title: str,
    parameters: Mapping[str, Any],
    *,
    hash_raw: bool,
) -> Data:
    dataset = get_dataset(parameters["dataset"])
    options = dataset.options_type.model_validate(parameters["data_options"])
    card = load_or_none(catalog, f"{prefix}data_card")
    images = catalog.get(f"{prefix}images")
    raw_hash = (
        dataset.raw_hash(parameters["percent"], Path(parameters["raw_dir"]), options)
        if hash_raw
        else None
    )
    return Data(
        prefix,
        title,
        card if isinstance(card, Mapping) else None,
        raw_hash,
        isinstance(images, _SharedImages) and images.has_other_labels(),
    )


def _differences(record: Mapping[str, Any], settings: Mapping[str, Any]) -> Iterator[str]:
    as_json = json.loads(json.dumps(settings))  # the record was read from JSON
    for name, old, new in changes({key: record.get(key) for key in settings}, as_json):
        yield f"{name} was {_shown(old)} and is {_shown(new)}"


def _shown(value: Any) -> str:
    if value is None:
        return "not set"
    return "+".join(map(str, value)) if isinstance(value, list) else str(value)
