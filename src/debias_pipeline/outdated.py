"""Find results on disk that belong to other settings or other data than those of a run."""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, cast

from kedro.io import AbstractVersionedDataset, DataCatalog
from kedro.pipeline import Pipeline

from debias_pipeline.biased_data import get_dataset
from debias_pipeline.errors import UserError
from debias_pipeline.grid import (
    ALL_DONE,
    SETTING_ENTRIES,
    TRAINED_ENTRIES,
    TRIAL_ENTRIES,
    Catalog,
    Trial,
    load_or_none,
    trials_of,
)
from debias_pipeline.methods import method_names
from debias_pipeline.names import DONE, FAILED
from debias_pipeline.nested import changes
from debias_pipeline.networks import weights_hash
from debias_pipeline.records import DataCard, DataIdentity
from debias_pipeline.training import data_difference

DATA: Final = ("images", "manifest", "data_card", "data_figures")
# Files of published networks are outside the project and may change, so their results are always
# made again.
PRETRAINED: Final = "pretrained"
# At most this many differing settings are named in a log line.
_MAX_SHOWN: Final = 3


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


@dataclass(frozen=True)
class _Data:
    """A data set of a run.

    Attributes:
        prefix: prefix of its catalog entries, such as `cmnist_1pct.` in a grid.
        title: name of the data set in messages.
        card: data card on disk, or None.
        raw_hash: hash of the current raw files; None if there are none or they were not read.
    """

    prefix: str
    title: str
    card: Mapping[str, Any] | None
    raw_hash: str | None

    @property
    def has_changed(self) -> bool:
        """Return whether the raw files differ from those that the data on disk was made from."""
        if self.card is None or self.raw_hash is None:
            return False
        return self.card.get("raw_hash") != self.raw_hash

    def difference(self, trained_on: Mapping[str, Any], is_remade: bool) -> str | None:
        """Return how the data differs from that of an earlier training, or None.

        Args:
            trained_on: `data` of the training record.
            is_remade: whether the run makes the data again; then only raw files are compared.
        """
        if not trained_on.get("content_hash"):
            return "the data it was trained on is not recorded"
        if self.card is None or is_remade:
            same = trained_on.get("raw_hash") == self.raw_hash
            return None if same else "the raw data has changed"
        return data_difference(cast(DataIdentity, trained_on), cast(DataCard, self.card))


@dataclass(frozen=True)
class _Trial:
    """A method on a data set, with the settings of the run (None: those it was trained with)."""

    name: str
    data: _Data
    settings: Mapping[str, Any] | None


def check_raw_data(
    pipeline: Pipeline, catalog: Catalog, parameters: Mapping[str, Any]
) -> str | None:
    """Return a warning if raw data has changed and the pipeline does not make the data again."""
    if not set(DATA) & pipeline.inputs():
        return None
    try:
        data = _ordinary_data(catalog, parameters, hash_raw=True)
    except UserError as error:
        return f"Raw data could not be read ({error}); the data set on disk is used unchanged"
    if not data.has_changed:
        return None
    return (
        f"The raw data of {data.title} has changed since the data set was made; this run uses the "
        "data set unchanged. To make it again: kedro run --pipeline=ingestion"
    )


def check_trained_on(pipeline: Pipeline, catalog: Catalog, parameters: Mapping[str, Any]) -> None:
    """Check that the pipeline reads only results of methods that were trained on this data.

    Raises:
        UserError: if a method was trained on other data.
    """
    read = pipeline.inputs()
    if not set(DATA) & read or not catalog.exists("data_card"):
        return
    card = catalog.get("data_card").load()  # type: ignore[union-attr]
    for method in method_names():
        if not any(name.startswith(f"{method}.") for name in read):
            continue
        record = load_or_none(catalog, f"{method}.training_record") or {}
        if difference := data_difference(record.get("data", {}), card):
            setting = f"dataset={parameters['dataset']},percent={parameters['percent']}"
            raise UserError(
                f"{method} was trained on other data: {difference}; train again: kedro run "
                f"--pipeline={method} --params {setting}"
            )


def mark_outdated(pipeline: Pipeline, catalog: Catalog, parameters: Mapping[str, Any]) -> list[str]:
    """Mark results of other settings or other data as missing.

    Args:
        pipeline: pipeline that will run with --only-missing-outputs.
        catalog: catalog of the run.
        parameters: parameters of the run.

    Returns:
        One line per data set or method that is made again, with the reason.

    Raises:
        UserError: if the raw data cannot be listed, or results are outdated and the runner uses
            another catalog than `RunCatalog`.
    """
    names, reasons = find_outdated(pipeline, catalog, parameters)
    if isinstance(catalog, RunCatalog):
        catalog.mark_outdated(names)
    elif any(catalog.exists(name) for name in names - _always_made(pipeline)):
        raise UserError(
            "--only-missing-outputs does not work with this runner if results on disk are outdated "
            f"({'; '.join(reasons) or 'made from earlier results'}); omit the option, or use "
            "--runner=SequentialRunner"
        )
    return reasons


def find_outdated(
    pipeline: Pipeline, catalog: Catalog, parameters: Mapping[str, Any]
) -> tuple[set[str], list[str]]:
    """Find the outputs on disk that belong to other settings or other data than those of a run.

    Args:
        pipeline: pipeline that will run with --only-missing-outputs.
        catalog: catalog of the run.
        parameters: parameters of the run.

    Returns:
        Names of catalog entries, and one line per data set or method with the reason.

    Raises:
        UserError: if the raw data cannot be listed.
    """
    outputs = pipeline.all_outputs()
    reasons: list[str] = []
    marked: set[str] = set()
    for data, trials in _data_and_trials(pipeline, catalog, parameters):
        is_remade = f"{data.prefix}images" in outputs and (
            data.has_changed or not (data.card or {}).get("content_hash")
        )
        if is_remade and data.card is not None:
            why = "its raw data has changed" if data.has_changed else "its content is not recorded"
            reasons.append(f"{data.title} is made again: {why}")
            marked |= {f"{data.prefix}{name}" for name in DATA}
        for trial in trials:
            if difference := _difference(trial, catalog, is_remade):
                reasons.append(f"{trial.name} is trained again: {difference}")
                marked |= {f"{trial.name}.{name}" for name in TRIAL_ENTRIES}
            else:
                marked |= _failed_results(trial.name, catalog)
    marked = (marked & outputs) | _pretrained_results(outputs)
    remade = _always_made(pipeline)
    return marked | _find_dependent(pipeline, catalog, marked, remade) | remade, reasons


def _data_and_trials(
    pipeline: Pipeline, catalog: Catalog, parameters: Mapping[str, Any]
) -> Iterator[tuple[_Data, list[_Trial]]]:
    outputs = pipeline.all_outputs()
    # Trials often share a weights file.
    hash_once = cache(weights_hash)

    def weights(recipe: Mapping[str, Any]) -> dict[str, str | None]:
        return {"weights_hash": hash_once(recipe.get("weights", "none"))}

    if set(DATA) & pipeline.datasets():
        data = _ordinary_data(catalog, parameters, hash_raw="images" in outputs)
        seeds = [*range(parameters["seed"], parameters["seed"] + parameters["seeds"])]
        trials = [
            _Trial(
                method,
                data,
                {
                    "recipe": parameters[method]["recipe"],
                    "seeds": seeds,
                    "precision": parameters["precision"],
                    **weights(parameters[method]["recipe"]),
                },
            )
            for method in method_names()
            if f"{method}.training_record" in outputs
        ]
        yield data, trials
    settings: dict[str, list[Trial]] = {}
    for trial in trials_of(parameters):
        if f"{trial.name}.outcome" in outputs:
            settings.setdefault(trial.setting, []).append(trial)
    for name, trials_of_setting in settings.items():
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
                _Trial(
                    trial.name,
                    data,
                    {
                        "recipe": trial.recipe,
                        "seeds": [*trial.seeds],
                        "precision": trial.precision,
                        **weights(trial.recipe or {}),
                    },
                )
                for trial in trials_of_setting
            ],
        )


def _ordinary_data(catalog: Catalog, parameters: Mapping[str, Any], *, hash_raw: bool) -> _Data:
    title = f"{parameters['dataset']}, {parameters['percent']}"
    return _data(catalog, "", title, parameters, hash_raw=hash_raw)


def _data(
    catalog: Catalog,
    prefix: str,
    title: str,
    parameters: Mapping[str, Any],
    *,
    hash_raw: bool,
) -> _Data:
    dataset = get_dataset(parameters["dataset"])
    options = dataset.options_type.model_validate(parameters["data_options"])
    card = load_or_none(catalog, f"{prefix}data_card")
    raw_hash = (
        dataset.raw_hash(parameters["percent"], Path(parameters["raw_dir"]), options)
        if hash_raw
        else None
    )
    return _Data(prefix, title, card if isinstance(card, Mapping) else None, raw_hash)


def _difference(trial: _Trial, catalog: Catalog, is_remade: bool) -> str | None:
    """Return how settings or data of the results on disk differ from those of the run.

    The text is empty if nothing differs; None if there are no results.
    """
    name = f"{trial.name}.training_record"
    if not catalog.exists(name):
        return None
    record = load_or_none(catalog, name)
    if record is None:
        return "its training record cannot be read"
    differences = [*_differences(record, trial.settings or {})]
    if difference := trial.data.difference(record.get("data", {}), is_remade):
        differences.append(difference)
    more = len(differences) - _MAX_SHOWN
    return ", ".join(differences[:_MAX_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _differences(record: Mapping[str, Any], settings: Mapping[str, Any]) -> Iterator[str]:
    as_json = json.loads(json.dumps(settings))  # the record was read from JSON
    for name, old, new in changes({key: record.get(key) for key in settings}, as_json):
        yield f"{name} was {_shown(old)} and is {_shown(new)}"


def _shown(value: Any) -> str:
    if value is None:
        return "not set"
    return "+".join(map(str, value)) if isinstance(value, list) else str(value)


def _failed_results(trial: str, catalog: Catalog) -> set[str]:
    """Return the names of the results to make again if a trial of the grid has failed."""
    name = f"{trial}.outcome"
    if not catalog.exists(name):
        return set()
    outcome = load_or_none(catalog, name) or {"status": FAILED}
    if outcome["status"] == DONE:
        return set()
    kept = TRAINED_ENTRIES if outcome.get("settings_digest") else ()
    return {f"{trial}.{entry}" for entry in TRIAL_ENTRIES if entry not in kept}


def _always_made(pipeline: Pipeline) -> set[str]:
    """Return the outputs that every run makes, even if they exist.

    These are the leaderboard, and the metrics that ordinary runs log to MLflow.
    """
    final = {f"{method}.final_metrics" for method in method_names()}
    leaderboard = (node.outputs for node in pipeline.nodes if ALL_DONE in node.tags)
    return (final & pipeline.all_outputs()).union(*leaderboard)


def _pretrained_results(outputs: Iterable[str]) -> set[str]:
    return {name for name in outputs if name.startswith(f"{PRETRAINED}.")}


def _find_dependent(
    pipeline: Pipeline, catalog: Catalog, marked: Iterable[str], remade: Collection[str]
) -> set[str]:
    """Return results made from outdated results, and results older than those they are made from.

    Data sets are ignored, as the training record identifies the data.

    Args:
        pipeline: pipeline that will run with --only-missing-outputs.
        catalog: catalog of the run.
        marked: names of outdated results.
        remade: names of the outputs that every run makes.
    """
    found = set(marked)
    # Outputs that every run makes count as being as old as their inputs.
    age_of: dict[str, str] = {}
    for node in pipeline.nodes:
        if any(name.split(".")[-1] in SETTING_ENTRIES for name in node.outputs):
            continue
        needed = [name for name in node.inputs if name.split(".")[-1] not in SETTING_ENTRIES]
        used = [age_of.get(name) or _version(catalog, name) for name in needed]
        newest = max((version for version in used if version), default="")
        made = {name: _version(catalog, name) for name in node.outputs if name not in remade}
        versions = {version for version in made.values() if version is not None}
        if newest and len(made) < len(node.outputs):
            age_of |= dict.fromkeys(made, newest)
        if (
            any(name in found for name in (*needed, *made))
            or len(versions) > 1  # saving was interrupted
            or "" in versions
            or (versions and newest > min(versions))
        ):
            found.update(made)
    return found - set(marked)


def _version(catalog: Catalog, name: str) -> str | None:
    """Return the version on disk, "" if there is none, or None if the entry is not versioned."""
    dataset = _versioned(catalog, name)
    if dataset is None:
        return None
    return (dataset.resolve_load_version() or "") if dataset.exists() else ""


def _versioned(catalog: Catalog, name: str) -> AbstractVersionedDataset[Any, Any] | None:
    if name.startswith("params:") or name not in catalog:
        return None
    dataset = catalog.get(name)
    is_versioned = isinstance(dataset, AbstractVersionedDataset) and dataset.resolve_save_version()
    return cast(AbstractVersionedDataset[Any, Any], dataset) if is_versioned else None
