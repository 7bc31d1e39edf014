"""Track a run in MLflow: tags, parameters, metrics and artifacts."""

import os
import shlex
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.io.core import is_parameter
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node
from kedro_mlflow.config.kedro_mlflow_config import KedroMlflowConfig

from debias_pipeline.biased_data import get_dataset
from debias_pipeline.config_loader import ProjectConfigLoader
from debias_pipeline.grid import GRID_TAG, Catalog, Trial, chosen_trials, trials_of
from debias_pipeline.io import local_file
from debias_pipeline.methods import method_names
from debias_pipeline.nested import flattened
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


class TrackingHooks:
    """Track a run in MLflow: parameters, tags, metrics and artifacts.

    These hooks replace those of kedro-mlflow, which fail if the MLflow server is unreachable. They
    use kedro-mlflow's settings in mlflow.yml.
    """

    _catalog: Catalog
    _config: KedroMlflowConfig
    _destination: Destination

    # Runs before all hooks that read the configuration.
    @hook_impl(tryfirst=True)
    def after_context_created(self, context: KedroContext) -> None:
        """Read mlflow.yml, without contacting MLflow."""
        loader, project = cast(ProjectConfigLoader, context.config_loader), context.project_path
        loader.project = Path(project)
        self._config = mlflow_config(loader)
        self._destination = destination_of(loader, self._config)
        os.environ.update(credentials_of(loader, self._config))
        # Used by notebooks and `kedro mlflow ui`.
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
        trials = chosen_trials(trials_of(parameters), pipeline)
        project = Path(run_params["project_path"])
        start_run(
            self._destination,
            project / PENDING_FOLDER,
            self._config.tracking.run.name or "+".join(names),
            {
                **{name: value for name, value in run_params.items() if value},
                **(_tags_of_grid(trials) if trials else {}),
                **(_tags_of_run(pipeline, parameters) if _uses_dataset(pipeline) else {}),
                "kedro_command": _command(run_params, names),
                "git_commit": _git_commit(project),
            },
            self._config.tracking.run.id,
        )
        if trials:
            active_run().log(params={"benchmark": parameters["benchmark"]})

    @hook_impl
    def before_node_run(self, node: Node, catalog: Catalog, inputs: dict[str, Any]) -> None:
        """Log the parameters of a node; trials log their recipes in `run_trial`."""
        # Set here, as workers call no earlier hook.
        self._catalog = catalog
        if GRID_TAG not in node.tags:
            parameters = {name: inputs[name] for name in inputs if is_parameter(name)}
            active_run().log(
                params={name.removeprefix("params:"): each for name, each in parameters.items()}
            )

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any) -> None:
        """Log data whose catalog entry has `mlflow_artifact: <path>` or `mlflow_metrics: <prefix>`.

        Datasets of kedro-mlflow are not used, as they fail if the MLflow server is unreachable.
        """
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
        """End the MLflow run."""
        end_run(FINISHED)

    @hook_impl
    def on_pipeline_error(self) -> None:
        """End the MLflow run as failed; see `killed_when_interrupted` for Ctrl-C."""
        end_run(FAILED)


def _tags_of_run(pipeline: Pipeline, parameters: dict[str, Any]) -> dict[str, str]:
    first, count = parameters["seed"], parameters["seeds"]
    return {
        **_tags_of_data(parameters),
        "method": ",".join(name for name in method_names() if _in_namespace(pipeline, name)),
        "seeds": ",".join(str(seed) for seed in range(first, first + count)),
    }


def _tags_of_data(parameters: dict[str, Any]) -> dict[str, str]:
    dataset = get_dataset(parameters["dataset"])
    if dataset.has_percents:
        return {"dataset": dataset.name, "percent": parameters["percent"]}
    # A percent that does not change the data would be misleading.
    title = dataset.title(parameters["percent"], Path(parameters["raw_dir"]))
    return {"dataset": dataset.name, "data": title}


def _tags_of_grid(trials: list[Trial]) -> dict[str, str]:
    def listed(values: Iterable[object]) -> str:
        return ",".join(dict.fromkeys(map(str, values)))

    percents = [each.percent for each in trials if get_dataset(each.dataset).has_percents]
    return {
        "dataset": listed(trial.dataset for trial in trials),
        **({"percent": listed(percents)} if percents else {}),
        "method": listed(trial.method for trial in trials),
        "seeds": listed(trials[0].seeds),
    }


def _in_namespace(pipeline: Pipeline, name: str) -> bool:
    return any((node.namespace or "").split(".")[0] == name for node in pipeline.nodes)


def _uses_dataset(pipeline: Pipeline) -> bool:
    """Return whether an ordinary pipeline makes or reads the data set of its parameters."""
    return bool({"images", "data_card"} & pipeline.datasets())


def _command(run_params: Mapping[str, Any], pipelines_chosen: list[str]) -> str:
    """Return the command line of a run, with the options that Kedro passes to hooks."""
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
    """Return the commit of the project, with "-dirty" if files differ; "unknown" without git."""

    def git(arguments: Iterable[str]) -> str:
        command = ["git", "-C", str(project), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        commit = git(["rev-parse", "HEAD"])
        return f"{commit}-dirty" if git(["status", "--porcelain"]) else commit
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
