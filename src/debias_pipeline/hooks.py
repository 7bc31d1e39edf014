"""What happens around a run: checks before it, tags and pointers for people."""

import logging
import os
import shlex
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.framework.project import pipelines
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node
from kedro_mlflow.config.kedro_mlflow_config import KedroMlflowConfig
from rich.console import Console

from debias_pipeline.biased_data import get_dataset
from debias_pipeline.config_loader import ProjectConfigLoader
from debias_pipeline.errors import Hole, RecipeError, UserError
from debias_pipeline.grid import CELL_ENTRIES, OVERRIDES, Cell, cells_of
from debias_pipeline.io import local_file, location, unwritable_folder, versions_of
from debias_pipeline.methods import get_method, method_names
from debias_pipeline.nested import flattened
from debias_pipeline.networks import check_weights
from debias_pipeline.outdated import check_raw_data, check_trained_on, mark_outdated
from debias_pipeline.parameters import check_decays, check_overrides, no_recipe
from debias_pipeline.pipeline_registry import (
    DEFAULT_METHODS,
    baseline_first,
    pipelines_of_grid,
    pipelines_of_pretrained,
    pipelines_of_trained,
)
from debias_pipeline.pipelines.benchmark import (
    GRID_PIPELINES,
    GRID_TAG,
    check_cells,
    check_outcomes,
    check_typed,
    chosen_cells,
)
from debias_pipeline.pipelines.evaluation import PRETRAINED
from debias_pipeline.registry import unknown
from debias_pipeline.reporting import headline_table, leaderboard_tables
from debias_pipeline.runners import ON_OTHER_MACHINES
from debias_pipeline.tracking import (
    FAILED,
    FINISHED,
    PENDING_FOLDER,
    Destination,
    active_run,
    credentials_of,
    destination_of,
    end_run,
    mlflow_config,
    set_tracking_uri,
    start_run,
)
from debias_pipeline.training import choose_device

logger = logging.getLogger(__name__)

Catalog = CatalogProtocol[Any, Any]

# The catalog entry that gives a node the place for its snapshots.
SNAPSHOTS = "snapshots"


class PreflightHooks:
    """Refuses a run that cannot succeed before it starts."""

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Lay out the grid; let `evaluation` and `reporting` judge what is there."""
        pipelines.update(pipelines_of_grid(cells_of(context.params)))
        if context.params.get("pretrained"):
            pipelines.update(pipelines_of_pretrained())
            return
        catalog = context.catalog
        trained = [name for name in method_names() if catalog.exists(f"{name}.checkpoint")]
        pipelines.update(pipelines_of_trained(trained or DEFAULT_METHODS))

    # First of all hooks, so that no MLflow run is started for what is refused.
    @hook_impl(tryfirst=True)
    def before_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: Catalog
    ) -> None:
        """Check what depends on the pipeline chosen.

        Raises:
            UserError: if a method has no recipe, a recipe field is unknown to all methods of
                the run, the device is not there, something is missing that an earlier
                pipeline makes or belongs to other data, results cannot be saved, or a method
                needs bias labels and the data has none. The same is checked for a grid.
        """
        _check_load_versions(run_params["load_versions"] or {}, pipeline, catalog)
        parameters: dict[str, Any] = catalog.load("parameters")
        if set(run_params["pipeline_names"] or ["__default__"]) <= set(GRID_PIPELINES):
            check_typed(run_params["runtime_params"] or {})
        cells = chosen_cells(cells_of(parameters), pipeline)
        check_cells(cells, pipeline, catalog)
        # The workers of a cluster have devices and files of their own.
        here = run_params["runner"] != ON_OTHER_MACHINES
        if here:
            choose_device(parameters["device"])
            _check_writable(pipeline, catalog)
            for cell in cells:
                _check_weights(cell.recipe or {}, OVERRIDES)
        trained = _methods_of(pipeline, "params:{}.recipe")
        for method in trained:
            if "recipe" not in parameters[method]:
                raise UserError(no_recipe(method, parameters["dataset"]))
            if here:
                _check_weights(parameters[method]["recipe"], "recipe")
        if trained:
            check_overrides(parameters["recipe"], trained)
            check_decays(
                parameters["recipe"], {name: parameters[name]["recipe"] for name in trained}
            )
        for key in ("model", "images"):
            if f"params:{key}" in pipeline.inputs() and not parameters[key]:
                raise UserError(
                    f"--pipeline=predict needs {key}; use e.g. --params "
                    "model=data/06_models/cmnist_mini/2pct/disent,images=photos"
                )
        self._check_inputs(pipeline, catalog, parameters)
        if here:
            for method in trained:
                _check_bias_labels(method, parameters, parameters, "", pipeline, catalog)
            for cell in cells:
                setting = parameters[cell.setting]
                namespace = f"{cell.setting}."
                _check_bias_labels(cell.method, setting, parameters, namespace, pipeline, catalog)
        check_trained_on(pipeline, catalog, parameters)
        if warning := check_raw_data(pipeline, catalog, parameters):
            logger.warning(warning)
        if run_params.get("only_missing_outputs"):
            for reason in mark_outdated(pipeline, catalog, parameters):
                logger.info(reason)

    def _check_inputs(
        self, pipeline: Pipeline, catalog: Catalog, parameters: dict[str, Any]
    ) -> None:
        needed = sorted(name for name in pipeline.inputs() if not _is_parameter(name))
        # The leaderboard shows what a cell has not left as a hole.
        cells = cells_of(parameters)
        holes = {f"{cell.name}.{entry}" for cell in cells for entry in CELL_ENTRIES}
        holes |= {f"{cell.setting}.data_card" for cell in cells}
        missing = [name for name in needed if name not in holes and not catalog.exists(name)]
        if not missing:
            return
        setting = f"dataset={parameters['dataset']},percent={parameters['percent']}"
        method = next((name.split(".")[0] for name in missing if "." in name), None)
        remedy = f"kedro run --pipeline={method or 'ingestion'} --params {setting}"
        raise UserError(f"Nothing there yet for {', '.join(missing)} ({setting}): first {remedy}")


class TrackingHooks:
    """Tracks a run in MLflow: parameters, tags, metrics and artifacts.

    It takes the place of kedro-mlflow's hooks, which need an MLflow that answers. The settings in
    mlflow.yml are those of kedro-mlflow.
    """

    _catalog: Catalog
    _config: KedroMlflowConfig
    _destination: Destination

    # Before all that reads the configuration.
    @hook_impl(tryfirst=True)
    def after_context_created(self, context: KedroContext) -> None:
        """Read mlflow.yml, without contacting MLflow."""
        loader, project = cast(ProjectConfigLoader, context.config_loader), context.project_path
        loader.project = Path(project)
        self._config = mlflow_config(loader)
        self._destination = destination_of(loader, self._config)
        os.environ.update(credentials_of(loader, self._config))
        # For notebooks, and `kedro mlflow ui`.
        set_tracking_uri(self._destination.uri)
        context.__setattr__("mlflow", self._config)

    @hook_impl(trylast=True)
    def before_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: Catalog
    ) -> None:
        """Start the MLflow run of the command and set its tags."""
        names = run_params["pipeline_names"] or ["__default__"]
        if set(names) <= set(self._config.tracking.disable_tracking.pipelines):
            return
        parameters: dict[str, Any] = catalog.load("parameters")
        cells = chosen_cells(cells_of(parameters), pipeline)
        project = Path(run_params["project_path"])
        start_run(
            self._destination,
            project / PENDING_FOLDER,
            self._config.tracking.run.name or "+".join(names),
            {
                **{name: value for name, value in run_params.items() if value},
                **(_tags_of_grid(cells) if cells else {}),
                **(_tags_of_run(pipeline, parameters) if _uses_dataset(pipeline) else {}),
                "kedro_command": _command(run_params, names),
                "git_commit": _git_commit(project),
            },
            self._config.tracking.run.id,
        )
        if cells:
            active_run().log(params={"benchmark": parameters["benchmark"]})

    @hook_impl
    def before_node_run(self, node: Node, catalog: Catalog, inputs: dict[str, Any]) -> None:
        """Log the parameters of a node; a trial logs its recipe to a run of its own."""
        # Set here, as a worker's process only runs nodes.
        self._catalog = catalog
        if GRID_TAG not in node.tags:
            parameters = {name: inputs[name] for name in inputs if _is_parameter(name)}
            active_run().log(
                params={name.removeprefix("params:"): each for name, each in parameters.items()}
            )

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any) -> None:
        """Log what the catalog marks with `mlflow_artifact: <path>` or `mlflow_metrics: <prefix>`.

        kedro-mlflow's own datasets need an MLflow that answers.
        """
        if isinstance(data, Hole):
            return
        dataset = self._catalog.get(dataset_name)
        metadata = getattr(dataset, "metadata", None) or {}
        if "mlflow_artifact" in metadata and active_run().key is not None:
            with local_file(dataset) as path:
                active_run().log_artifact(path, metadata["mlflow_artifact"])
        if "mlflow_metrics" in metadata:
            for name, metric in data.items():
                full_name = f"{metadata['mlflow_metrics']}.{name}"
                active_run().log(metrics={full_name: metric["value"]}, step=metric["step"])

    @hook_impl
    def after_pipeline_run(self) -> None:
        """End the run."""
        end_run(FINISHED)

    @hook_impl
    def on_pipeline_error(self) -> None:
        """End the run; Kedro does not call this for Ctrl-C, see `killed_when_interrupted`."""
        end_run(FAILED)


class SnapshotHooks:
    """Removes the snapshots of a training run once all that it made is saved."""

    _catalog: Catalog

    @hook_impl
    def before_node_run(self, catalog: Catalog) -> None:
        """Keep the catalog, also in a process that only runs nodes."""
        self._catalog = catalog

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any, node: Node) -> None:
        """Remove snapshots after the last output of the node that took them."""
        store = next((name for name in node.inputs if name.split(".")[-1] == SNAPSHOTS), None)
        if store is None or dataset_name != node.outputs[-1]:
            return
        # A trial that failed keeps its snapshots.
        if data["settings_digest"]:
            try:
                self._catalog.load(store).clear(data["settings_digest"])
            except OSError as error:
                # Such as a network file system on which a file is still open elsewhere.
                logger.warning("Snapshots that are not needed any more were not removed: %s", error)


class SummaryHooks:
    """Ends a run with its results: the headline table and where the reports are."""

    # Last of all hooks, so that the MLflow run has ended when holes make the command fail.
    @hook_impl(trylast=True)
    def after_pipeline_run(self, pipeline: Pipeline, catalog: Catalog) -> None:
        """Show what the run has measured and written.

        Raises:
            UserError: if cells of the grid failed.
        """
        outputs = pipeline.all_outputs()
        names = (f"{name}.metrics" for name in (*method_names(), PRETRAINED))
        evaluated = baseline_first(name for name in names if name in outputs)
        if evaluated:
            metrics = [catalog.load(name) for name in evaluated]
            parameters = catalog.load("parameters")
            published = {
                each["method"]: parameters[each["method"]]["published_accuracy"] for each in metrics
            }
            Console().print(headline_table(metrics, published, catalog.load("data_card")))
        if "leaderboard_json" in outputs:
            Console().print(leaderboard_tables(catalog.load("leaderboard_json")))
        reports = sorted(
            name for name in outputs if name.endswith(("report", "_page", "image_predictions"))
        )
        # Networks that were not trained here are evaluated for their metrics.
        files = [*reports, *(name for name in evaluated if not reports or PRETRAINED in name)]
        for name in files:
            shown = location(catalog.get(name)).removeprefix(f"{Path.cwd()}{os.sep}")
            # Not logged: a log line would be wrapped, and a path should be easy to copy.
            print(f"{name.replace('.', ' ').replace('_', ' ')}: {shown}")
        cells = chosen_cells(cells_of(catalog.load("parameters")), pipeline)
        check_outcomes(cells, {cell.name: catalog.load(f"{cell.name}.outcome") for cell in cells})


def _check_bias_labels(
    method: str,
    setting: Mapping[str, Any],
    parameters: Mapping[str, Any],
    namespace: str,
    pipeline: Pipeline,
    catalog: Catalog,
) -> None:
    """Check that the data has the bias labels that a method needs.

    Data that the pipeline makes is not there yet, or is not the one that it will make: then the
    data set says what it knows of it.

    Args:
        method: to be trained.
        setting: `dataset` and `data_options`.
        parameters: `raw_dir`.
        namespace: of the setting's catalog entries.
        pipeline: to be run.
        catalog: of the run.

    Raises:
        UserError: if there are none.
    """
    if get_method(method).bias_labels == "none":
        return
    entry = f"{namespace}data_card"
    if entry in pipeline.inputs():
        card = catalog.load(entry)
        lacking = isinstance(card, dict) and not card["bias_names"]
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
    # One output of each kind: a grid has thousands, and those of a kind lie in the same layer.
    for name in {each.split(".")[-1]: each for each in sorted(pipeline.all_outputs())}.values():
        folder = unwritable_folder(catalog.get(name))
        if folder is not None:
            raise UserError(
                f"{name} cannot be saved: {folder} is read-only; make it writable, or set root in "
                "conf/local/globals.yml to another folder"
            )


def _tags_of_run(pipeline: Pipeline, parameters: dict[str, Any]) -> dict[str, str]:
    first, count = parameters["seed"], parameters["seeds"]
    return {
        "dataset": parameters["dataset"],
        "percent": parameters["percent"],
        "method": ",".join(name for name in method_names() if _in_namespace(pipeline, name)),
        "seeds": ",".join(str(seed) for seed in range(first, first + count)),
    }


def _tags_of_grid(cells: list[Cell]) -> dict[str, str]:
    def listed(values: Iterable[object]) -> str:
        return ",".join(dict.fromkeys(map(str, values)))

    return {
        "dataset": listed(cell.dataset for cell in cells),
        "percent": listed(cell.percent for cell in cells),
        "method": listed(cell.method for cell in cells),
        "seeds": listed(cells[0].seeds),
    }


def _check_load_versions(
    load_versions: dict[str, str], pipeline: Pipeline, catalog: Catalog
) -> None:
    """Check that the pipeline reads what --load-versions names, and that the version is stored.

    Raises:
        UserError: if it does not, or the version is not.
    """
    if not load_versions:
        return
    read = [name for name in sorted(pipeline.inputs()) if not _is_parameter(name)]
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
            raise UserError(f"--load-versions={name}:{version} is not stored; stored are: {stored}")


def _check_weights(recipe: Mapping[str, Any], key: str) -> None:
    """Check the weights that a recipe starts from; errors name recipe fields under `key`."""
    if not recipe:
        return
    try:
        check_weights(recipe["network"], recipe["weights"])
    except RecipeError as error:
        raise error.with_key(key) from error


def _methods_of(pipeline: Pipeline, dataset: str) -> list[str]:
    inputs = pipeline.inputs()
    return [name for name in method_names() if dataset.format(name) in inputs]


def _in_namespace(pipeline: Pipeline, name: str) -> bool:
    return any((node.namespace or "").split(".")[0] == name for node in pipeline.nodes)


def _uses_dataset(pipeline: Pipeline) -> bool:
    """Whether an ordinary pipeline makes or reads the data set of its parameters."""
    return bool({"images", "data_card"} & pipeline.datasets())


def _is_parameter(name: str) -> bool:
    return name == "parameters" or name.startswith("params:")


def _command(run_params: Mapping[str, Any], pipelines_chosen: list[str]) -> str:
    """The command line of a run, as far as Kedro tells hooks."""
    options: dict[str, Any] = {
        "pipelines": [name for name in pipelines_chosen if name != "__default__"],
        "env": [run_params["env"]] if run_params["env"] else [],
        "params": [
            f"{name}={value}"
            for name, value in flattened(run_params["runtime_params"] or {}).items()
        ],
        "tags": run_params["tags"],
        "nodes": run_params["node_names"],
        "from-nodes": run_params["from_nodes"],
        "to-nodes": run_params["to_nodes"],
        "from-inputs": run_params["from_inputs"],
        "to-outputs": run_params["to_outputs"],
    }
    chosen = [f"--{name}={','.join(values)}" for name, values in options.items() if values]
    return " ".join(["kedro run", *map(shlex.quote, chosen)])


def _git_commit(project: Path) -> str:
    """The commit of the project, marked where files differ from it; "unknown" without git."""

    def git(arguments: Iterable[str]) -> str:
        command = ["git", "-C", str(project), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        commit = git(["rev-parse", "HEAD"])
        return f"{commit}-dirty" if git(["status", "--porcelain"]) else commit
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
