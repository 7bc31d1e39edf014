"""Reference results: finished trials that are kept as JSON files, to compare new trials with."""

import os
import platform
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, cast

from kedro.io import DatasetError
from pydantic import BaseModel, ConfigDict, Field

from debias_pipeline.biased_data import get_dataset
from debias_pipeline.errors import UserError, one_line
from debias_pipeline.grid.catalog import Catalog, load_or_none
from debias_pipeline.grid.trials import Trial, setting_name
from debias_pipeline.methods import get_method, method_names
from debias_pipeline.names import COMMAND_TAG, COMMIT_TAG, DONE, NOT_RUN, BiasLabels
from debias_pipeline.pipelines.reporting import data_changes
from debias_pipeline.records import Metrics, Outcome, TrainingRecord
from debias_pipeline.reporting import RecipeChange, TrialResult, find_recipe_changes
from debias_pipeline.validation import validated

# The catalog entry of the references.
REFERENCES: Final = "references"


class Reference(BaseModel):
    """The results of a trial with all that is needed to repeat it.

    Attributes:
        dataset, percent, method, seeds, precision: see `Trial`.
        data_options: options of the data set.
        data_seed: random seed of building the data set.
        content_hash: hash of the images, see `DataCard`.
        recipe: recipe as used.
        metrics: catalog entry `metrics` of the trial.
        cost: the other values of the trial's `Outcome`, such as seconds and threads.
        commit: Git commit of the project.
        machine: cores and processor, and the GPU if one was used.
        command: the command that ran the trial, with "..." as the folder of the raw data.
        date: year, month and day.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    dataset: str
    percent: str
    method: str
    seeds: list[int] = Field(min_length=1)
    precision: str
    data_options: dict[str, Any]
    data_seed: int
    content_hash: str
    recipe: dict[str, Any]
    metrics: dict[str, Any]
    cost: dict[str, Any]
    commit: str = Field(pattern="^[0-9a-f]{40}$")
    machine: str
    command: str
    date: str

    @property
    def origin(self) -> str:
        """Return commit, machine and date in words."""
        return f"commit {self.commit[:12]}, {self.machine}, {self.date}"


# --- Write ----------------------------------------------------------------------------------------


def make_reference(
    trial: Trial, catalog: Catalog, data_seed: int, tags_of_run: Callable[[str], Mapping[str, str]]
) -> Reference | None:
    """Return the reference of a finished trial, or None if the trial is not done.

    Args:
        trial: the trial; it must have run on this machine.
        catalog: catalog with the results of the trial.
        data_seed: random seed of building the data set.
        tags_of_run: returns the tags of an MLflow run and its parents.

    Raises:
        UserError: if the images are the user's own; if the code was not that of a commit; or if
            training and evaluation are of different runs.
    """
    outcome: Outcome | None = load_or_none(catalog, f"{trial.name}.outcome")
    if outcome is None or outcome["status"] != DONE:
        return None
    if get_dataset(trial.dataset).has_own_images:
        raise UserError(
            f"{trial.name} is a trial on images that others do not have; references are for the "
            "data sets that come with the project"
        )
    record: TrainingRecord = catalog.load(f"{trial.name}.training_record")
    entries: list[Any] = [catalog.get(f"{trial.name}.{each}") for each in _OF_ONE_RUN]
    versions = {each.resolve_load_version() for each in entries}
    if len(versions) > 1:
        raise UserError(
            f"{trial.name} was trained and evaluated by different runs, so its commit is not known;"
            " run it again without --only-missing-outputs"
        )
    tags = tags_of_run(outcome["mlflow_run_id"]) if outcome["mlflow_run_id"] else {}
    commit = tags.get(COMMIT_TAG, "unknown")
    if commit == "unknown" or commit.endswith("-dirty"):
        raise UserError(
            f"{trial.name} was run at commit {commit}; commit all changes and run it again, "
            "tracked in MLflow"
        )
    return Reference(
        dataset=trial.dataset,
        percent=trial.percent,
        method=trial.method,
        seeds=outcome["seeds"],
        precision=outcome["precision"],
        data_options=dict(trial.data_options),
        data_seed=data_seed,
        content_hash=outcome["content_hash"] or "",
        recipe=record["recipe"],
        metrics=catalog.load(f"{trial.name}.metrics"),
        cost={key: value for key, value in outcome.items() if key not in _NO_COST},
        commit=commit,
        machine=_machine(record["device"]),
        command=_without_folder(tags[COMMAND_TAG]),
        date=versions.pop()[:10],
    )


# Keys of an outcome that the reference has under its own keys, or that others cannot use.
_NO_COST: Final = (
    *("dataset", "percent", "method", "seeds", "precision", "content_hash"),
    *("status", "error", "settings_digest", "mlflow_run_id", "mlflow_experiment_id"),
)
_OF_ONE_RUN: Final = ("training_record", "metrics", "outcome")


def _without_folder(command: str) -> str:
    """Return a command line without the folder of the raw data, which others do not have."""
    words = [re.sub(r"\braw_dir=[^,]*", "raw_dir=...", word) for word in shlex.split(command)]
    return shlex.join(words)


def _machine(device: str) -> str:
    """Return cores and processor of this machine, and the name of its GPU if it was used."""
    cores = f"{os.cpu_count()} cores, {platform.machine()}"
    if not device.startswith("cuda"):
        return f"{cores}, {device}"
    import torch

    return f"{cores}, {torch.cuda.get_device_name(device)}"


def file_name(trial: Trial) -> str:
    """Return the name of the file of a trial's reference, without its suffix."""
    return f"{trial.name}.{trial.digest}"


# --- Compare --------------------------------------------------------------------------------------


def read_references(files: Mapping[str, Callable[[], Any]] | None) -> list[Reference]:
    """Return the references in files.

    Args:
        files: by name, functions that load them, as `PartitionedDataset` returns; None without any.

    Raises:
        UserError: if a file cannot be read or is not a reference.
    """
    found = []
    for name, load in sorted((files or {}).items()):
        try:
            content = load()
        except DatasetError as error:
            raise UserError(
                f"{name}.json is not valid JSON ({one_line(error.__cause__ or error)}); correct or "
                "remove it"
            ) from error
        found.append(validated(Reference, content, what="key of a reference", file=f"{name}.json"))
    return found


def with_references(
    results: Sequence[TrialResult],
    trials: Sequence[Trial],
    references: Sequence[Reference],
    data_seed: int,
) -> list[TrialResult]:
    """Add references to the results of a grid.

    A trial that is done gets the reference of the same recipe, precision and images, if there is
    one. A trial that was not run is replaced by a reference of its setting, and methods that the
    grid does not have follow. Of several references of a method, the one that is most similar to
    the grid is used: by recipe, images, steps, precision and seeds in this order, then the newest.

    Args:
        results: a result per trial.
        trials: trials of the grid.
        references: all references.
        data_seed: random seed of building the data sets.
    """
    combined, settings = [], dict.fromkeys(trial.setting for trial in trials)
    for setting in settings:
        own = [
            (trial, result)
            for trial, result in zip(trials, results, strict=True)
            if trial.setting == setting
        ]
        found = _most_similar(
            [each for each in references if _is_of_setting(each, own[0][0], data_seed)], own
        )
        for trial, result in own:
            reference = found.pop(trial.method, None)
            if reference is not None and result.status == NOT_RUN:
                result = _as_result(reference, result, trial)
            elif reference is not None and _is_comparable(reference, trial, result):
                result = replace(result, reference=cast(Metrics, reference.metrics))
            combined.append(result)
        like = own[0][1]
        combined += [_as_result(each, replace(like, published=None)) for each in found.values()]
    return combined


def _is_of_setting(reference: Reference, trial: Trial, data_seed: int) -> bool:
    return (
        reference.dataset == trial.dataset
        and setting_name(reference.dataset, reference.percent) == trial.setting
        and reference.data_options == trial.data_options
        and reference.data_seed == data_seed
    )


def _most_similar(
    references: Sequence[Reference], own: Sequence[tuple[Trial, TrialResult]]
) -> dict[str, Reference]:
    """Return the reference of each method that is most similar to the trials of a setting."""
    trials = [trial for trial, _ in own]
    steps = {trial.recipe["steps"] for trial in trials if trial.recipe}
    images = {result.outcome.get("content_hash") for _, result in own if result.outcome}

    def similarity(reference: Reference) -> tuple[Any, ...]:
        return (
            any(_has_recipe(reference, trial) for trial in trials),
            reference.content_hash in images,
            reference.recipe.get("steps") in steps,
            reference.precision == trials[0].precision,
            reference.seeds == [*trials[0].seeds],
            reference.date,
            reference.commit,
        )

    return {each.method: each for each in sorted(references, key=similarity)}


def _has_recipe(reference: Reference, trial: Trial) -> bool:
    return reference.method == trial.method and not find_recipe_changes(
        reference.recipe, trial.recipe or {}
    )


def _is_comparable(reference: Reference, trial: Trial, result: TrialResult) -> bool:
    """Return whether a trial has the recipe, precision and images of a reference."""
    return (
        result.outcome is not None
        and result.outcome["status"] == DONE
        and result.outcome.get("content_hash") == reference.content_hash
        and reference.precision == trial.precision
        and _has_recipe(reference, trial)
    )


def _as_result(reference: Reference, like: TrialResult, trial: Trial | None = None) -> TrialResult:
    """Return a reference as a row of the leaderboard.

    Args:
        reference: the reference.
        like: a result of the same setting.
        trial: the trial that the reference replaces, or None.
    """
    outcome = {
        "dataset": reference.dataset,
        "percent": reference.percent,
        "method": reference.method,
        "seeds": reference.seeds,
        "precision": reference.precision,
        "content_hash": reference.content_hash,
        "status": DONE,
        **reference.cost,
    }
    return replace(
        like,
        method=reference.method,
        metrics=cast(Metrics, reference.metrics),
        outcome=cast(Outcome, outcome),
        recipe_changes=recipe_changes_of(trial, reference.recipe) if trial else [],
        bias_labels=_bias_labels(reference),
        network=network_of(reference.recipe),
        origin=reference.origin,
        reference=None,
    )


def recipe_changes_of(trial: Trial, recipe: Mapping[str, Any]) -> list[RecipeChange]:
    """Return in what a recipe, and the data of a trial, differ from the trial's defaults."""
    # Options of the data matter to published accuracies only.
    options = trial.data_options if trial.published_accuracy else {}
    default = {**(trial.recipe or {}), **trial.replaced_defaults}
    return [*find_recipe_changes(recipe, default), *data_changes(trial.dataset, options)]


def _bias_labels(reference: Reference) -> BiasLabels:
    recorded: BiasLabels | None = reference.metrics.get("bias_labels")
    if recorded is None and reference.method in method_names():
        recorded = get_method(reference.method).bias_labels
    return recorded or "none"


def network_of(recipe: Mapping[str, Any]) -> str:
    """Return a recipe's network, initial weights and size of images, each if there is one.

    For example "resnet18 (imagenet) at 224 × 224".
    """
    name, weights = str(recipe.get("network", "")), recipe.get("weights", "none")
    side = recipe.get("resize")
    initialised = "" if weights == "none" else f" ({weights})"
    return name + initialised + (f" at {side} × {side}" if side else "")
