"""Report results of other settings or other data as missing, so that a run makes them again."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any, cast

from kedro.io import AbstractVersionedDataset
from kedro.pipeline import Pipeline

from debias_pipeline.errors import UserError
from debias_pipeline.grid import (
    ALL_DONE,
    SETTING_ENTRIES,
    TRAINED_ENTRIES,
    TRIAL_ENTRIES,
    Catalog,
    load_or_none,
)
from debias_pipeline.methods import method_names
from debias_pipeline.names import DONE, FAILED
from debias_pipeline.outdated.trainings import data_and_trainings
from debias_pipeline.pipelines.evaluation import PRETRAINED
from debias_pipeline.run_catalog import RunCatalog


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
    for data, trainings in data_and_trainings(pipeline, catalog, parameters):
        is_remade = f"{data.prefix}images" in outputs and (
            data.has_changed or data.has_other_images or not (data.card or {}).get("content_hash")
        )
        if is_remade and data.card is not None:
            if data.has_changed:
                why = "its raw data has changed"
            elif data.has_other_images:
                why = "its images have changed"
            else:
                why = "its content is not recorded"
            reasons.append(f"{data.title} is made again: {why}")
            marked |= {f"{data.prefix}{name}" for name in SETTING_ENTRIES}
        for training in trainings:
            if difference := training.difference(catalog, is_remade):
                reasons.append(f"{training.name} is trained again: {difference}")
                marked |= {f"{training.name}.{name}" for name in TRIAL_ENTRIES}
            else:
                marked |= _failed_results(training.name, catalog)
    marked = (marked & outputs) | _pretrained_results(outputs)
    remade = _always_made(pipeline)
    return marked | _find_dependent(pipeline, catalog, marked, remade) | remade, reasons


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

    These are the leaderboard, the metrics that ordinary runs log to MLflow, estimates from a file
    outside of the project, and the tables that have no versions, so that their age is not known.
    """
    final = {
        f"{method}.{name}"
        for method in method_names()
        for name in ("final_metrics", "suspects", "to_label", "label_estimates")
    }
    leaderboard = (node.outputs for node in pipeline.nodes if ALL_DONE in node.tags)
    return (final & pipeline.all_outputs()).union(*leaderboard)


def _pretrained_results(outputs: Iterable[str]) -> set[str]:
    # Files of published networks are outside the project and may change, so their results are
    # always made again.
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
