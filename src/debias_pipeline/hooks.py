"""What happens around a run: checks before it, tags and pointers for people."""

import logging
import os
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import mlflow
from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.framework.project import pipelines
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node
from rich.console import Console

from debias_pipeline.config_loader import ProjectConfigLoader
from debias_pipeline.errors import Hole, UserError
from debias_pipeline.grid import CELL_ENTRIES, Cell, cells_of
from debias_pipeline.io import local_file, location
from debias_pipeline.methods import method_names
from debias_pipeline.outdated import check_raw_data, check_trained_on, mark_outdated
from debias_pipeline.parameters import check_overrides
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
from debias_pipeline.reporting import headline_table
from debias_pipeline.reporting.leaderboard import leaderboard_tables
from debias_pipeline.runners import ON_OTHER_MACHINES
from debias_pipeline.tracking import CellRun
from debias_pipeline.training import choose_device

Catalog = CatalogProtocol[Any, Any]

logger = logging.getLogger(__name__)

# The catalog entry that gives a node the place for its snapshots.
SNAPSHOTS = "snapshots"

# It sets itself to INFO when it is imported, after conf/logging.yml was read.
logging.getLogger("kedro_mlflow").setLevel(logging.WARNING)


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
                the run, the device is not there, or something is missing or belongs to other
                data that an earlier pipeline makes; of a grid likewise.
        """
        parameters: dict[str, Any] = catalog.load("parameters")
        if set(run_params["pipeline_names"] or ["__default__"]) <= set(GRID_PIPELINES):
            check_typed(run_params["runtime_params"] or {})
        check_cells(chosen_cells(cells_of(parameters), pipeline), pipeline, catalog)
        # The workers of a cluster have devices of their own.
        if run_params["runner"] != ON_OTHER_MACHINES:
            choose_device(parameters["device"])
        trained = _methods_of(pipeline, "params:{}.recipe")
        for method in trained:
            if "recipe" not in parameters[method]:
                raise UserError(
                    f"There is no recipe for {method} on {parameters['dataset']}: "
                    "add one to conf/base/parameters_recipes.yml"
                )
        if trained:
            check_overrides(parameters["recipe"], trained)
        self._check_inputs(pipeline, catalog, parameters)
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
    """Tags MLflow runs and logs artifacts to them."""

    _catalog: Catalog

    # Before kedro-mlflow's, which reads mlflow.yml.
    @hook_impl(tryfirst=True)
    def after_context_created(self, context: KedroContext) -> None:
        """Let the config loader know the project, which it needs to place MLflow's store."""
        cast(ProjectConfigLoader, context.config_loader).project = Path(context.project_path)

    @hook_impl(trylast=True)
    def before_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: Catalog
    ) -> None:
        """Tag the MLflow run that kedro-mlflow has started, so that runs can be filtered."""
        run = mlflow.active_run()
        if not run:
            return
        parameters: dict[str, Any] = catalog.load("parameters")
        cells = chosen_cells(cells_of(parameters), pipeline)
        tags = _tags_of_grid(cells) if cells else _tags_of_run(pipeline, parameters)
        mlflow.set_tags({**tags, "git_commit": _git_commit(Path(run_params["project_path"]))})
        if cells:
            CellRun(run.info.run_id).log(params={"benchmark": parameters["benchmark"]})

    # Before kedro-mlflow's, which would log the parameters of every cell to the run of the grid,
    # one by one: seconds per cell on a slow disk. A cell logs its recipe to a run of its own.
    @hook_impl(tryfirst=True)
    def before_node_run(self, node: Node, catalog: Catalog, inputs: dict[str, Any]) -> None:
        """Know the catalog, also in a process that only runs nodes; log no cell twice."""
        self._catalog = catalog
        if GRID_TAG in node.tags:
            # Hooks share a copy of the inputs; the node has its own.
            for name in filter(_is_parameter, [*inputs]):
                del inputs[name]

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any) -> None:
        """Log what the catalog marks with `metadata: { mlflow_artifact: <path> }`.

        kedro-mlflow's own MlflowArtifactDataset makes versions that Kedro 1.7 refuses.
        """
        if isinstance(data, Hole):
            return
        dataset = self._catalog.get(dataset_name)
        artifact_path = (getattr(dataset, "metadata", None) or {}).get("mlflow_artifact")
        if artifact_path and mlflow.active_run():
            with local_file(dataset) as path:
                mlflow.log_artifact(str(path), artifact_path)


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
            self._catalog.load(store).clear(data["settings_digest"])


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
        judged = [f"{name}.metrics" for name in method_names() if f"{name}.metrics" in outputs]
        if judged:
            metrics = [catalog.load(name) for name in baseline_first(judged)]
            parameters = catalog.load("parameters")
            published = {
                each["method"]: parameters[each["method"]]["published_accuracy"] for each in metrics
            }
            Console().print(headline_table(metrics, published, catalog.load("data_card")))
        if "leaderboard_json" in outputs:
            Console().print(leaderboard_tables(catalog.load("leaderboard_json")))
        for name in sorted(name for name in outputs if name.endswith(("report", "_page"))):
            shown = location(catalog.get(name)).removeprefix(f"{Path.cwd()}{os.sep}")
            # Not logged: a log line would be wrapped, and a path should be easy to copy.
            print(f"{name.replace('.', ' ').replace('_', ' ')}: {shown}")
        cells = chosen_cells(cells_of(catalog.load("parameters")), pipeline)
        check_outcomes(cells, {cell.name: catalog.load(f"{cell.name}.outcome") for cell in cells})


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


def _methods_of(pipeline: Pipeline, dataset: str) -> list[str]:
    inputs = pipeline.inputs()
    return [name for name in method_names() if dataset.format(name) in inputs]


def _in_namespace(pipeline: Pipeline, name: str) -> bool:
    return any((node.namespace or "").split(".")[0] == name for node in pipeline.nodes)


def _is_parameter(name: str) -> bool:
    return name == "parameters" or name.startswith("params:")


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
