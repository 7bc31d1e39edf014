"""Check that a run can succeed before it starts."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kedro.framework.context import KedroContext
from kedro.framework.project import pipelines
from kedro.io.core import is_parameter
from kedro.pipeline import Pipeline

from debias_pipeline.biased_data import get_dataset
from debias_pipeline.errors import RecipeError, UserError
from debias_pipeline.grid import (
    ALL_DONE,
    OVERRIDES,
    SETTING_ENTRIES,
    Catalog,
    check_trials,
    check_typed,
    chosen_trials,
    create_pipelines,
    grid_command,
    load_or_none,
    trials_of,
)
from debias_pipeline.hooks.stored_trials import stored_trials
from debias_pipeline.io import unwritable_folder, versions_of
from debias_pipeline.methods import get_method, method_names
from debias_pipeline.names import GRID_PIPELINES
from debias_pipeline.networks import check_weights
from debias_pipeline.outdated import check_raw_data, check_trained_on, mark_outdated, remedy
from debias_pipeline.pipeline_registry import (
    DEFAULT_METHODS,
    PIPELINES_OF_TRAINED,
    is_requested,
    pipelines_of_pretrained,
    pipelines_of_trained,
)
from debias_pipeline.recipes import check_decays, check_overrides, no_recipe
from debias_pipeline.registry import unknown
from debias_pipeline.runners import ON_OTHER_MACHINES
from debias_pipeline.training import check_published, choose_device, data_difference
from debias_pipeline.tuning import TUNE, check_searches, check_tune_typed
from debias_pipeline.use import read_bias_labels

logger = logging.getLogger(__name__)


def create_pipelines_of_run(context: KedroContext) -> None:
    """Create the pipelines that depend on the parameters or on the results on disk.

    These are the pipelines of the grid, and `evaluation` and `reporting` for the methods that
    have a checkpoint, or for the default methods if none has. With the parameter `pretrained`,
    `evaluation` is the one of the published networks instead, which makes the data set if it
    does not exist.
    """
    parameters: dict[str, Any] = context.config_loader["parameters"]
    if is_requested(*GRID_PIPELINES):
        pipelines.update(create_pipelines(trials_of(parameters)))
    if not is_requested(*PIPELINES_OF_TRAINED):
        return
    catalog = context.catalog
    if parameters["pretrained"]:
        has_data = all(catalog.exists(name) for name in SETTING_ENTRIES)
        comparable = _comparable_methods(catalog) if has_data else []
        pipelines.update(pipelines_of_pretrained(comparable, has_data=has_data))
        return
    trained = [name for name in method_names() if catalog.exists(f"{name}.checkpoint")]
    pipelines.update(pipelines_of_trained(trained or DEFAULT_METHODS))


def check_run(run_params: dict[str, Any], pipeline: Pipeline, catalog: Catalog) -> None:
    """Check recipes, device, inputs and outputs of the pipeline or grid that will run.

    Raises:
        UserError: if a method has no recipe, no method of the run has a given recipe field,
            the device is not available, an input is missing or belongs to other data, results
            cannot be saved, a method needs bias labels and the data has none, the file
            `bias_labels` cannot be used, or a range of a search is invalid.
    """
    _check_load_versions(run_params["load_versions"] or {}, pipeline, catalog)
    parameters: dict[str, Any] = catalog.load("parameters")
    names, typed = run_params["pipeline_names"] or ["__default__"], run_params["runtime_params"]
    if set(names) <= set(GRID_PIPELINES):
        check_typed(typed or {})
    check_tune_typed(names, typed or {})
    trials = chosen_trials(trials_of(parameters), pipeline)
    if not trials and run_params["runner"] != ON_OTHER_MACHINES:
        _check_leaderboard(pipeline, catalog, parameters)
    check_trials(trials, pipeline, catalog, parameters)
    # Workers of a cluster may have other devices and files than this machine.
    runs_here = run_params["runner"] != ON_OTHER_MACHINES
    if runs_here:
        choose_device(parameters["device"])
        _check_writable(pipeline, catalog)
        for trial in trials:
            _check_weights(trial.recipe or {}, OVERRIDES)
        if "params:pretrained" in pipeline.inputs() and "images" in pipeline.all_outputs():
            check_published(Path(parameters["pretrained"]))
    trained = _methods_of(pipeline, "params:{}.recipe")
    tunes = f"{TUNE}.tuning" in pipeline.all_outputs()
    if tunes:
        trained += parameters[TUNE]["methods"]
    for method in trained:
        if "recipe" not in parameters[method]:
            raise UserError(no_recipe(method, parameters["dataset"]))
        if runs_here:
            _check_weights(parameters[method]["recipe"], "recipe")
    if trained:
        check_overrides(parameters["recipe"], trained)
        check_decays(parameters["recipe"], {name: parameters[name]["recipe"] for name in trained})
    if tunes:
        check_searches(parameters[TUNE], parameters["dataset"])
    for key in ("model", "images"):
        if f"params:{key}" in pipeline.inputs() and not parameters[key]:
            raise UserError(
                f"--pipeline=predict needs {key}, which is empty; use e.g. --params "
                "model=data/06_models/cmnist_mini/2pct/disent,images=photos"
            )
    _check_inputs(pipeline, catalog, parameters)
    if runs_here:
        if "params:bias_labels" in pipeline.inputs():
            read_bias_labels(parameters["bias_labels"])
        for method in trained:
            _check_bias_labels(method, parameters, parameters, "", pipeline, catalog)
        for trial in trials:
            setting = parameters[trial.setting]
            namespace = f"{trial.setting}."
            _check_bias_labels(trial.method, setting, parameters, namespace, pipeline, catalog)
    check_trained_on(pipeline, catalog, parameters)
    if warning := check_raw_data(pipeline, catalog, parameters):
        logger.warning(warning)
    if run_params.get("only_missing_outputs"):
        for reason in mark_outdated(pipeline, catalog, parameters):
            logger.info(reason)


def _check_inputs(pipeline: Pipeline, catalog: Catalog, parameters: dict[str, Any]) -> None:
    # Inputs of the leaderboard may be missing; it shows which.
    read = {name for node in pipeline.nodes if ALL_DONE not in node.tags for name in node.inputs}
    needed = sorted(name for name in read & pipeline.inputs() if not is_parameter(name))
    missing = [name for name in needed if not catalog.exists(name)]
    if not missing:
        return
    title = get_dataset(parameters["dataset"]).title(
        parameters["percent"], Path(parameters["raw_dir"])
    )
    method = next((name.split(".")[0] for name in missing if "." in name), None)
    raise UserError(
        f"{', '.join(missing)} of {title} must exist before this run; "
        f"run this first: {remedy(method, parameters)}"
    )


def _check_leaderboard(pipeline: Pipeline, catalog: Catalog, parameters: Mapping[str, Any]) -> None:
    """Check that there is a result to compare, if the pipeline runs no trial itself.

    Raises:
        UserError: if there is none; it lists the trials of other settings that are stored.
    """
    needed = [name for name in pipeline.inputs() if name.endswith(".outcome")]
    if not needed or any(catalog.exists(name) for name in needed):
        return
    stored = stored_trials(catalog)
    others = f"stored are trials of other settings: {'; '.join(stored)}; use their --params, or "
    raise UserError(
        f"No trial of the grid was run, so the leaderboard is empty; {others if stored else ''}run "
        f"this first: {grid_command('benchmark', parameters)}"
    )


def _comparable_methods(catalog: Catalog) -> list[str]:
    """Return the methods with results on the data set on disk, for a comparison."""
    card = load_or_none(catalog, "data_card")
    found = []
    for method in method_names():
        needed = ("metrics", "history", "group_accuracy", "training_record")
        if card is not None and all(catalog.exists(f"{method}.{name}") for name in needed):
            record = load_or_none(catalog, f"{method}.training_record")
            if record and not data_difference(record.get("data", {}), card):
                found.append(method)
    return found


def _check_bias_labels(
    method: str,
    setting: Mapping[str, Any],
    parameters: Mapping[str, Any],
    namespace: str,
    pipeline: Pipeline,
    catalog: Catalog,
) -> None:
    """Check that the data has bias labels if a method needs them.

    If the pipeline makes the data, the data card on disk may be missing or outdated, so the class
    of the data set is asked instead.

    Args:
        method: the method that will be trained.
        setting: parameters with `dataset` and `data_options`.
        parameters: parameters with `raw_dir`.
        namespace: prefix of the setting's catalog entries, empty in an ordinary run.
        pipeline: the pipeline that will run.
        catalog: catalog of the run.

    Raises:
        UserError: if the method needs bias labels and the data has none.
    """
    if not get_method(method).is_oracle():
        return
    entry = f"{namespace}data_card"
    if entry in pipeline.inputs():
        card = load_or_none(catalog, entry)
        lacking = card is not None and not card["bias_names"]
    else:
        dataset = get_dataset(setting["dataset"])
        options = dataset.options_type.model_validate(setting["data_options"])
        lacking = dataset.lacks_bias_labels(Path(parameters["raw_dir"]), options)
    if lacking:
        raise UserError(
            f"{method} needs bias labels, and dataset={setting['dataset']} in "
            f"{parameters['raw_dir']} has none; add a column bias to the table of its images, or "
            "use a method that needs none, such as disent"
        )


def _check_writable(pipeline: Pipeline, catalog: Catalog) -> None:
    # Check one output of each kind: a grid has thousands, and those of a kind share a layer.
    for name in {each.split(".")[-1]: each for each in sorted(pipeline.all_outputs())}.values():
        folder = unwritable_folder(catalog.get(name))
        if folder is not None:
            raise UserError(
                f"{name} cannot be saved: {folder} is read-only; make it writable, or set root in "
                "conf/local/globals.yml to another folder"
            )


def _check_load_versions(
    load_versions: dict[str, str], pipeline: Pipeline, catalog: Catalog
) -> None:
    """Check that the pipeline reads the inputs of --load-versions and that the versions exist.

    Raises:
        UserError: if an input is not read or a version does not exist.
    """
    if not load_versions:
        return
    read = [name for name in sorted(pipeline.inputs()) if not is_parameter(name)]
    versions = {name: versions_of(catalog.get(name)) for name in read}
    for name, version in load_versions.items():
        if name not in versions:
            versioned = [each for each, stored in versions.items() if stored]
            raise UserError(
                f"--load-versions={name}:{version}: "
                + unknown("versioned input of this pipeline", name, versioned or ["none"])
            )
        if version not in versions[name]:
            stored = ", ".join(versions[name]) or "none"
            raise UserError(
                f"--load-versions={name}:{version} does not exist; stored are: {stored}"
            )


def _check_weights(recipe: Mapping[str, Any], key: str) -> None:
    """Check the initial weights of a recipe; errors name recipe fields under `key`."""
    if not recipe:
        return
    try:
        check_weights(recipe["network"], recipe["weights"])
    except RecipeError as error:
        raise error.with_key(key) from error


def _methods_of(pipeline: Pipeline, dataset: str) -> list[str]:
    inputs = pipeline.inputs()
    return [name for name in method_names() if dataset.format(name) in inputs]
