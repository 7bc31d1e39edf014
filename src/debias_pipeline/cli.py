"""The command `run`, which shows errors that users can fix in one line, and names of the others.

Kedro imports this module at every start, so packages that take long to import are imported where
they are needed.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final, cast

import click
from kedro.framework.cli.project import PARAMS_ARG_HELP
from kedro.framework.cli.project import run as kedro_run
from kedro.framework.cli.utils import LazyGroup
from kedro.framework.project import pipelines, settings
from kedro.utils import find_kedro_project
from yaml import YAMLError

from debias_pipeline.command_line import ParamsOption, with_one_line_errors
from debias_pipeline.errors import UserError, one_line
from debias_pipeline.names import GRID_PIPELINES
from debias_pipeline.registry import unknown
from debias_pipeline.stopping import Stopped

# Commands by name, as the module that defines them and their name there.
_COMMANDS: Final = {
    name: f"debias_pipeline.commands.{function}"
    for name, function in {
        "clean-runs": "clean_runs",
        "export-checkpoint": "export_checkpoint",
        "export-model": "export_model",
        "log-model": "log_model_command",
        "mlflow-sync": "mlflow_sync",
        "save-references": "save_references",
    }.items()
}


@click.group(name="debias-pipeline", cls=LazyGroup, lazy_subcommands=_COMMANDS)
def cli() -> None:
    """Commands of this project."""


def _check_pipelines(names: Iterable[str]) -> None:
    known = [name for name in pipelines if name != "__default__"]
    for name in names:
        if name not in pipelines:
            raise UserError(unknown("pipeline", name, known))


def _run_known_pipelines(*args: Any, pipeline: str, dry_run: bool, **kwargs: Any) -> Any:
    if pipeline and kwargs["pipelines"]:
        raise UserError("--pipeline and --pipelines cannot be used together; use one of them")
    # Kedro deprecates --pipeline, so it is this project's own option and Kedro never sees it.
    names = [pipeline] if pipeline else kwargs["pipelines"]
    _check_configuration(kwargs["conf_source"])
    # Without names, Kedro would create all pipelines.
    kwargs["pipelines"] = names or ["__default__"]
    if dry_run:
        return _show_plan(names, kwargs)
    if not kwargs["runner"] and any(name in GRID_PIPELINES for name in names):
        # Kedro's runners stop at the first trial that fails.
        kwargs["runner"] = "debias_pipeline.runners.IsolatingRunner"
    if any(each.name == "pipeline" for each in kedro_run.params):
        kwargs["pipeline"] = None
    try:
        return cast(Callable[..., Any], kedro_run.callback)(*args, **kwargs)
    except ValueError:
        # Kedro's error does not list all pipelines. Checked afterwards, as their modules import
        # PyTorch, and an invalid parameter is reported without it.
        _check_pipelines(names)
        raise
    except Stopped as stopped:
        # Without the option, trainings that are finished start again.
        hint = "Add --only-missing-outputs to skip what is done."
        if kwargs["only_missing_outputs"]:
            if stopped.in_training:
                raise
            hint = "The same command continues."
        raise Stopped(stopped.signal_number, f"{stopped} {hint}") from stopped


def _check_configuration(conf_source: str | None) -> None:
    """Check that the folder with the configuration exists, as an installed package has none.

    Raises:
        UserError: if no --conf-source is given and the project's folder has no conf/base.
    """
    project = find_kedro_project(Path.cwd()) or Path.cwd()
    base = project / settings.CONF_SOURCE / settings.CONFIG_LOADER_ARGS["base_env"]
    if not conf_source and not base.is_dir():
        raise UserError(
            f"{base} does not exist; run in the project's folder, or give its configuration, "
            "which kedro package writes to dist/, as --conf-source=<folder or .tar.gz>"
        )


def _show_plan(names: list[str], options: dict[str, Any]) -> None:
    """Print what `kedro run` with these options would do."""
    from rich.console import Console

    from debias_pipeline.grid import (
        check_trials,
        check_typed,
        chosen_trials,
        plan,
        plan_table,
        trials_of,
    )
    from debias_pipeline.outdated import find_outdated

    if names != ["benchmark"]:
        raise UserError("--dry-run is for the grid; add --pipeline=benchmark")
    check_typed(options["params"])
    with settings.SESSION_CLASS.create(
        env=options["env"], conf_source=options["conf_source"], runtime_params=options["params"]
    ) as session:
        context = session.load_context()
        grid = pipelines["benchmark"].filter(
            node_namespaces=options["namespaces"], **{key: options[key] for key in _NODE_OPTIONS}
        )
        catalog, parameters = context.catalog, context.params
        trials = chosen_trials(trials_of(parameters), grid)
        check_trials(trials, grid, catalog, parameters)
        outdated, _ = find_outdated(grid, catalog, parameters)
        Console().print(plan_table(plan(trials, catalog, parameters, outdated)))


# Options of `kedro run` that select nodes.
_NODE_OPTIONS = ("tags", "node_names", "from_nodes", "to_nodes", "from_inputs", "to_outputs")


_DRY_RUN = click.Option(
    ["--dry-run"],
    is_flag=True,
    help="List the trials of --pipeline=benchmark, which of them have results, and an estimate of "
    "the time left; nothing is run.",
)

_OWN_OPTIONS = {
    "params": ParamsOption(["--params"], help=PARAMS_ARG_HELP),
    "pipeline": click.Option(["--pipeline", "-p"], help="Name of the pipeline to run."),
    "dry_run": _DRY_RUN,
}


class _RunCommand(click.Command):
    """The command `run`, which prints a one-line error if the file of --config is not YAML."""

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Parse the command line, with a one-line error if the file of --config is not YAML.

        Raises:
            ClickException: if it is not.
        """
        try:
            return super().make_context(*args, **kwargs)
        except YAMLError as error:
            raise click.ClickException(f"--config is not YAML: {one_line(error)}") from error


# Kedro imports this name when the packaged project is run.
run = _RunCommand(
    name="run",
    callback=with_one_line_errors(_run_known_pipelines),
    params=[
        *(option for option in kedro_run.params if option.name not in _OWN_OPTIONS),
        *_OWN_OPTIONS.values(),
    ],
    help=kedro_run.help,
)
cli.add_command(run)
