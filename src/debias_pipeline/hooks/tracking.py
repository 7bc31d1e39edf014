"""Track a run in MLflow: tags, parameters, metrics, artifacts and the trained model."""

import os
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, cast

from kedro.framework.context import KedroContext
from kedro.io.core import is_parameter
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from debias_pipeline.biased_data import get_dataset
from debias_pipeline.config_loader import ProjectConfigLoader
from debias_pipeline.grid import GRID_TAG, Catalog, chosen_trials, trials_of
from debias_pipeline.hooks.run_facts import (
    command_line,
    commit_tags,
    data_name,
    method_facts,
    runner_name,
    whole_run,
)
from debias_pipeline.io import SpreadsheetDataset, TextFilesDataset, local_file
from debias_pipeline.methods import method_names
from debias_pipeline.names import COMMAND_TAG
from debias_pipeline.pipeline_registry import baseline_first
from debias_pipeline.pipelines.evaluation import PRETRAINED
from debias_pipeline.records import DataCard
from debias_pipeline.tracking import (
    FAILED,
    FINISHED,
    PENDING_FOLDER,
    Dataset,
    Destination,
    MlflowSettings,
    active_run,
    credentials_of,
    destination_of,
    end_method_run,
    end_run,
    method_run,
    mlflow_settings,
    set_tracking_uri,
    start_run,
)

# Parameters that are not settings of a run: the command says what was typed.
_NO_SETTINGS: Final = ("typed", "published_accuracy", "replaced_defaults")


class Tracking:
    """Track a run in MLflow: parameters, tags, metrics, artifacts and models.

    A run of several methods is a parent run with a child run per method, with the same names of
    metrics. These hooks replace those of kedro-mlflow, which fail if the MLflow server is
    unreachable. They use kedro-mlflow's settings in mlflow.yml.
    """

    _catalog: Catalog
    _config: MlflowSettings
    _destination: Destination

    def __init__(self) -> None:
        # Nodes to run, by method.
        self._left: Counter[str] = Counter()
        # Folder of the images; unknown on workers.
        self._raw_dir: Path | None = None

    def read_settings(self, context: KedroContext) -> None:
        """Read mlflow.yml, without contacting MLflow."""
        loader, project = cast(ProjectConfigLoader, context.config_loader), context.project_path
        loader.project = Path(project)
        self._config = mlflow_settings(loader)
        self._destination = destination_of(loader, self._config)
        os.environ.update(credentials_of(loader, self._config))
        # For notebooks, models of MLflow that a run reads, and methods and nodes of users.
        set_tracking_uri(self._destination.uri)
        # Read by `kedro mlflow ui`.
        context.__setattr__("mlflow", self._config)

    def start(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: Catalog) -> None:
        """Start the MLflow run of the command, set its tags, and plan a child run per method.

        Does nothing if mlflow.yml disables tracking for the pipelines. There are child runs only
        if the pipeline contains several methods.
        """
        names = run_params["pipeline_names"] or ["__default__"]
        if set(names) <= set(self._config.tracking.disable_tracking.pipelines):
            return
        parameters: dict[str, Any] = catalog.load("parameters")
        trials = chosen_trials(trials_of(parameters), pipeline)
        project = Path(run_params["project_path"])
        typed = command_line(run_params, names)
        self._raw_dir = Path(parameters["raw_dir"])
        self._left = Counter(_method_of(node) for node in pipeline.nodes)
        methods = baseline_first(name for name in (*method_names(), PRETRAINED) if self._left[name])
        common = {COMMAND_TAG: typed, **commit_tags(project)}
        whole = whole_run(pipeline, names, methods, trials, parameters, typed)
        start_run(
            self._destination,
            project / PENDING_FOLDER,
            self._config.tracking.run.name or whole.name,
            {
                **{name: value for name, value in run_params.items() if value},
                **whole.tags,
                **common,
                "runner": runner_name(run_params),
            },
            self._config.tracking.run.id,
            {name: method_facts(names, [name], parameters, typed, common) for name in methods}
            if len(methods) > 1
            else {},
        )
        if trials:
            active_run().log(params={"benchmark": parameters["benchmark"]})

    def log_inputs(self, node: Node, catalog: Catalog, inputs: dict[str, Any]) -> None:
        """Log the parameters, data and model of a node; trials log their recipes themselves."""
        # Set here, as workers call no earlier hook.
        self._catalog = catalog
        method = _method_of(node)
        run = method_run(method)
        in_grid = GRID_TAG in node.tags
        dataset = inputs.get("params:dataset")
        ignored = {*_NO_SETTINGS}
        if dataset is not None and not get_dataset(dataset).has_percents:
            ignored.add("percent")
        for name, value in inputs.items():
            if is_parameter(name):
                short = name.removeprefix("params:").removeprefix(f"{method}.")
                # Recipes of several methods are inputs of their comparison, which has no method.
                if not in_grid and "." not in short and short not in ignored:
                    run.log(params={short: value})
            elif name.split(".")[-1] == "data_card" and isinstance(value, dict):
                run.log_dataset(self._dataset_of(cast(DataCard, value)))
            elif name == f"{method}.checkpoint" and not in_grid:
                self._log_model(name, value, method)

    def end_node(self, node: Node) -> None:
        """End the run of a method after its last node."""
        method = _method_of(node)
        self._left[method] -= 1
        if not self._left[method]:
            end_method_run(method)

    def log_output(self, dataset_name: str, data: Any, node: Node) -> None:
        """Log data whose catalog entry has `mlflow_artifact: <folder>` or `mlflow_metrics: true`.

        Datasets of kedro-mlflow are not used, as they fail if the MLflow server is unreachable.
        Tables are logged as CSV, which MLflow shows. A trained method is logged as a model; trials
        of a grid are not, as these may be thousands.
        """
        dataset, method = self._catalog.get(dataset_name), _method_of(node)
        metadata = getattr(dataset, "metadata", None) or {}
        run = method_run(method)
        if "mlflow_artifact" in metadata and run.key is not None:
            self._log_artifact(dataset, data, metadata["mlflow_artifact"], method)
        if metadata.get("mlflow_metrics"):
            run.log_final_metrics({name: metric["value"] for name, metric in data.items()})
        if dataset_name == "data_card":
            run.log_dataset(self._dataset_of(data))
        if dataset_name == f"{method}.checkpoint" and GRID_TAG not in node.tags:
            self._log_model(dataset_name, data, method)

    def _log_artifact(self, dataset: Any, data: Any, folder: str, method: str) -> None:
        run = method_run(method)
        if isinstance(dataset, TextFilesDataset):
            for name, text in data.items():
                run.log_text(text, f"{folder}/{name}{dataset.SUFFIX}")
            return
        with local_file(dataset) as path, TemporaryDirectory() as scratch:
            if path.suffix == ".parquet":
                table = Path(scratch) / f"{path.stem}.csv"
                SpreadsheetDataset(filepath=table.as_posix()).save(data)
                path = table
            run.log_artifact(path, folder)

    def _log_model(self, dataset_name: str, checkpoint: dict[str, Any], method: str) -> None:
        with local_file(self._catalog.get(dataset_name)) as path:

            def write(folder: Path) -> None:
                # Slow to import; an error does not stop the run.
                from debias_pipeline.use.mlflow_model import save_model

                save_model(folder, path, checkpoint["metadata"])

            method_run(method).log_model(write)

    def _dataset_of(self, card: DataCard) -> Dataset:
        """Return what MLflow shows of the data of a run."""
        counts = {}
        for split, summary in card["splits"].items():
            counts[f"{split} images"] = summary["images"]
            if summary["conflicting"] is not None:
                counts[f"{split} bias-conflicting"] = summary["conflicting"]
        return Dataset(
            name=data_name(card["dataset"], card["percent"], self._raw_dir),
            # Made by an earlier version, it has no hash.
            digest=card.get("content_hash") or "unknown",
            source=card["origin"],
            shape=tuple(card["image_shape"]),
            facts={"label": card["label_name"], "bias": card["bias_name"], **counts},
        )

    def finish(self) -> None:
        """End the MLflow run."""
        end_run(FINISHED)

    def fail(self) -> None:
        """End the MLflow run as failed; see `killed_when_interrupted` for Ctrl-C."""
        end_run(FAILED)


def _method_of(node: Node) -> str:
    """Return the namespace of a node, which is its method in an ordinary run; "" without one."""
    return node.namespace or ""
