"""Names, tags and descriptions of MLflow runs."""

import json
import shlex
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from kedro.pipeline import Pipeline

from debias_pipeline.biased_data import get_dataset
from debias_pipeline.grid import Trial
from debias_pipeline.methods import method_names
from debias_pipeline.names import COMMIT_TAG
from debias_pipeline.nested import flattened
from debias_pipeline.reporting import changes_in_words, find_recipe_changes
from debias_pipeline.runners import ON_OTHER_MACHINES
from debias_pipeline.tracking import NOTE, MethodRun, describe

_DEFAULT_RUNNERS: Final = ("SequentialRunner", "debias_pipeline.runners.IsolatingRunner")


def _uses_dataset(pipeline: Pipeline) -> bool:
    """Return whether an ordinary pipeline makes or reads the data set of its parameters."""
    return bool({"images", "data_card"} & pipeline.datasets())


def whole_run(
    pipeline: Pipeline,
    names: list[str],
    methods: list[str],
    trials: list[Trial],
    parameters: Mapping[str, Any],
    typed: str,
) -> MethodRun:
    """Return name, tags and parameters of the MLflow run of a whole `kedro run`.

    For a pipeline that does not use the data set of the parameters, such as `benchmark` or
    `predict`, the name is that of the pipeline, and no parameters are returned.

    Args:
        pipeline: the pipeline that will run.
        names: names of its pipelines on the command line.
        methods: methods that the pipeline contains.
        trials: trials of the grid that the pipeline contains.
        parameters: parameters of the run.
        typed: the command line.
    """
    if _uses_dataset(pipeline):
        return method_facts(names, methods, parameters, typed)
    name = "+".join(names)
    tags = {**(_tags_of_grid(trials) if trials else {}), NOTE: describe([], name, [], {}, typed)}
    return MethodRun(name, tags, {})


def method_facts(
    pipelines: list[str],
    methods: list[str],
    parameters: Mapping[str, Any],
    typed: str,
    common: Mapping[str, str] | None = None,
) -> MethodRun:
    """Return name, tags and parameters of an MLflow run: of a whole `kedro run` or of one method.

    Args:
        pipelines: names of the pipelines on the command line.
        methods: all methods of the run, or the one of a child run; may be empty.
        parameters: parameters of the run.
        typed: the command line, for the description.
        common: further tags.
    """
    tags = _tags_of_data(parameters)
    seeds = [*range(parameters["seed"], parameters["seed"] + parameters["seeds"])]
    data = data_name(parameters["dataset"], parameters["percent"], Path(parameters["raw_dir"]))
    stages = [name for name in pipelines if name not in (*method_names(), "__default__")]
    what = ["+".join(methods), *stages] if methods else stages
    return MethodRun(
        f"{data}/{' '.join(what)}",
        {
            **tags,
            "method": ",".join(methods),
            "seeds": ",".join(map(str, seeds)),
            **(common or {}),
            NOTE: describe(
                methods,
                data,
                seeds,
                # The namespace of published networks has no recipe; its name is a parameter.
                {name: _changes(parameters[name]) for name in methods if name in method_names()},
                typed,
                stage=", ".join(stages) or "trained and evaluated",
            ),
        },
        tags,
    )


def _changes(of_method: Mapping[str, Any]) -> str:
    """Return as text how the recipe of a method differs from the one in the project's files."""
    recipe = of_method.get("recipe", {})
    default = {**recipe, **of_method.get("replaced_defaults", {})}
    return changes_in_words(find_recipe_changes(recipe, default))


def data_name(dataset: str, percent: str, raw_dir: Path | None) -> str:
    """Return the name under which MLflow shows a data set.

    Args:
        dataset: name of the data set.
        percent: for example 2pct.
        raw_dir: folder of the raw data, or None.

    Returns:
        `cmnist 2pct` if the data set has percents, else the name of `raw_dir`, or of the data set
        if `raw_dir` is None.
    """
    if get_dataset(dataset).has_percents:
        return f"{dataset} {percent}"
    return dataset if raw_dir is None else get_dataset(dataset).title(percent, raw_dir)


def _tags_of_data(parameters: Mapping[str, Any]) -> dict[str, str]:
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


def command_line(run_params: Mapping[str, Any], pipelines_chosen: list[str]) -> str:
    """Return the command line of a run, with the options that Kedro passes to hooks."""
    options: dict[str, Any] = {
        "pipelines": [name for name in pipelines_chosen if name != "__default__"],
        "env": [run_params["env"]] if run_params["env"] else [],
        "params": [
            f"{name}={value if isinstance(value, str) else json.dumps(value)}"
            for name, value in flattened(run_params["runtime_params"] or {}).items()
        ],
        "tags": run_params["tags"],
        "nodes": run_params["node_names"],
        "namespaces": run_params.get("namespaces"),
        "from-nodes": run_params["from_nodes"],
        "to-nodes": run_params["to_nodes"],
        "from-inputs": run_params["from_inputs"],
        "to-outputs": run_params["to_outputs"],
        "load-versions": [
            f"{name}:{version}" for name, version in (run_params.get("load_versions") or {}).items()
        ],
    }
    chosen = [f"--{name}={','.join(values)}" for name, values in options.items() if values]
    runner = runner_name(run_params)
    if runner not in _DEFAULT_RUNNERS:
        chosen.append(f"--runner={runner}")
    if run_params.get("only_missing_outputs"):
        chosen.append("--only-missing-outputs")
    return " ".join(["kedro run", *map(shlex.quote, chosen)])


def runner_name(run_params: Mapping[str, Any]) -> str:
    """Return the runner as --runner takes it; Kedro passes `<module.Class object at …>`."""
    text = str(run_params["runner"])
    if text in ("DaskRunner", ON_OTHER_MACHINES):
        return "debias_pipeline.runners.DaskRunner"
    module, _, name = text.strip("<>").split(" ")[0].rpartition(".")
    return f"debias_pipeline.runners.{name}" if module.startswith("debias_pipeline") else name


def commit_tags(project: Path) -> dict[str, str]:
    """Return a tag with the commit of the project; it ends in "-dirty" if files have changed.

    The tag is "unknown" without git or outside a repository. MLflow's own tag for the commit is
    returned too unless files have changed, as MLflow treats its value as the name of a commit.
    """

    def git(arguments: Iterable[str]) -> str:
        command = ["git", "-C", str(project), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        commit = git(["rev-parse", "HEAD"])
        if git(["status", "--porcelain"]):
            return {COMMIT_TAG: f"{commit}-dirty"}
    except (OSError, subprocess.CalledProcessError):
        return {COMMIT_TAG: "unknown"}
    return {COMMIT_TAG: commit, "mlflow.source.git.commit": commit}
