"""Commands of the project; `kedro run` shows errors that users can fix in one line."""

import functools
import logging
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import click
from kedro.config import MissingConfigException
from kedro.framework.cli.project import PARAMS_ARG_HELP
from kedro.framework.cli.project import run as kedro_run
from kedro.framework.cli.utils import _split_params
from kedro.framework.project import pipelines, settings
from kedro.framework.session import KedroSession
from kedro.io import DatasetError
from kedro.utils import find_kedro_project
from kedro.validation.exceptions import DataValidationError
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console
from rich.logging import RichHandler
from yaml import YAMLError

from debias_pipeline.config_loader import ProjectConfigLoader
from debias_pipeline.errors import UserError, one_line, user_error_behind
from debias_pipeline.grid import (
    GRID_PIPELINES,
    REFERENCES,
    check_trials,
    check_typed,
    chosen_trials,
    file_name,
    grid_command,
    make_reference,
    plan,
    plan_table,
    trials_of,
)
from debias_pipeline.hooks.report_index import update_existing_indexes
from debias_pipeline.methods import method_names
from debias_pipeline.old_versions import find_old_versions
from debias_pipeline.outdated import find_outdated
from debias_pipeline.parameters import text_parameters
from debias_pipeline.pipeline_registry import PUBLISHED_METHOD
from debias_pipeline.registry import unknown
from debias_pipeline.selection_rules import SELECTION_RULES
from debias_pipeline.stopping import Stopped, stopping_at_once
from debias_pipeline.tracking import (
    PENDING_FOLDER,
    Destination,
    Store,
    destination_of,
    killed_when_interrupted,
    mlflow_config,
    reason,
    send_abandoned,
)
from debias_pipeline.training import Checkpoint, write_published
from debias_pipeline.use import FORMATS, Format, export, load_classifier


@click.group(name="debias-pipeline")
def cli() -> None:
    """Commands of this project."""


def explanation(error: BaseException | None) -> str | None:
    """Return one line about an error that users can fix, or None for other errors."""
    user_error = user_error_behind(error)
    if user_error is not None:
        return str(user_error)
    if isinstance(error, DataValidationError):
        return f"{one_line(error)}; make the data again with kedro run --pipeline=ingestion"
    if isinstance(
        error, DatasetError | MissingConfigException | YAMLError | OmegaConfBaseException
    ):
        return one_line(error)
    if isinstance(error, ValueError) and _is_raised_by_a_filter(error):
        return one_line(error)
    return None


def _is_raised_by_a_filter(error: ValueError) -> bool:
    """Return whether Kedro rejects `--nodes`, `--tags` or the like, which is a bare ValueError."""
    *_, (raised_in, _) = traceback.walk_tb(error.__traceback__)
    return raised_in.f_globals.get("__name__") == "kedro.pipeline.pipeline"


def _check_pipelines(names: Iterable[str]) -> None:
    known = [name for name in pipelines if name != "__default__"]
    for name in names:
        if name not in pipelines:
            raise UserError(unknown("pipeline", name, known))


class _WithoutKedrosNoise(logging.Filter):
    """Drop Kedro's hint at --async, and its lines about a failed node before a one-line error."""

    def filter(self, record: logging.LogRecord) -> bool:
        if not record.name.startswith("kedro"):
            return True
        if record.levelno >= logging.WARNING:
            return explanation(sys.exc_info()[1]) is None
        # The hint is all that this module logs; the lines about nodes are from runner.py.
        return record.module != "sequential_runner"


@contextmanager
def _readable_logs() -> Iterator[None]:
    """Drop Kedro's noise, and without a terminal log each message on one line, not wrapped."""
    root, quiet = logging.getLogger(), _WithoutKedrosNoise()
    before = list(root.handlers)
    root.handlers = [_unwrapped(handler) for handler in before]
    for handler in root.handlers:
        handler.addFilter(quiet)
    try:
        yield
    finally:
        for handler in root.handlers:
            handler.removeFilter(quiet)
        root.handlers = before


def _unwrapped(handler: logging.Handler) -> logging.Handler:
    if not isinstance(handler, RichHandler) or handler.console.is_terminal:
        return handler
    plain = logging.StreamHandler(handler.console.file)
    plain.setFormatter(logging.Formatter("[%(asctime)s] %(levelname)-8s %(message)s", "%X"))
    return plain


def _with_one_line_errors(callback: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(callback)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            with stopping_at_once(), killed_when_interrupted(), _readable_logs():
                return callback(*args, **kwargs)
        except Stopped as stopped:
            click.echo(stopped, err=True)
            raise SystemExit(stopped.exit_code) from stopped
        except Exception as error:
            message = explanation(error)
            if message is None:
                raise
            raise click.ClickException(message) from error

    return run


def _run_known_pipelines(*args: Any, pipeline: str, dry_run: bool, **kwargs: Any) -> Any:
    if pipeline and kwargs["pipelines"]:
        raise UserError("--pipeline and --pipelines cannot be used together; use one of them")
    # Kedro deprecates --pipeline, so it is this project's own option and Kedro never sees it.
    names = [pipeline] if pipeline else kwargs["pipelines"]
    _check_configuration(kwargs["conf_source"])
    _check_pipelines(names)
    kwargs["pipelines"] = names
    if dry_run:
        return _show_plan(names, kwargs)
    if not kwargs["runner"] and any(name in GRID_PIPELINES for name in names):
        # Kedro's runners stop at the first trial that fails.
        kwargs["runner"] = "debias_pipeline.runners.IsolatingRunner"
    if any(each.name == "pipeline" for each in kedro_run.params):
        kwargs["pipeline"] = None
    try:
        return cast(Callable[..., Any], kedro_run.callback)(*args, **kwargs)
    except Stopped as stopped:
        if kwargs["only_missing_outputs"]:
            raise
        hint = "Add --only-missing-outputs to skip what is done."
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


class _ParamsOption(click.Option):
    """`--params`, which may be given several times: later values replace earlier ones."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(
            *args,
            **{**kwargs, "multiple": True, "type": click.UNPROCESSED, "callback": _merge_params},
        )

    def type_cast_value(self, ctx: click.Context, value: Any) -> Any:
        """Accept a single value as well, as a --config file contains no list of them."""
        single = isinstance(value, str | dict)
        return super().type_cast_value(ctx, (value,) if single else value)


def _merge_params(ctx: click.Context, option: click.Parameter, values: Any) -> dict[str, Any]:
    parts = [_typed_params(ctx, option, value) for value in values]
    return cast(dict[str, Any], OmegaConf.to_container(OmegaConf.merge(*parts)) if parts else {})


def _typed_params(ctx: click.Context, option: click.Parameter, value: Any) -> Any:
    """Return the values of one --params. Text is taken as it is typed, also 0123 or yes."""
    if not isinstance(value, str):
        return value
    items = [item.partition("=") for item in value.split(",")]
    # Text in quotation marks is YAML.
    texts = {
        key.strip(): text.strip()
        for key, sign, text in items
        if sign and key.strip() in text_parameters() and not text.lstrip().startswith(("'", '"'))
    }
    others = ",".join("".join(item) for item in items if item[0].strip() not in texts)
    try:
        return {**_split_params(ctx, option, others), **texts}
    except YAMLError as error:
        raise click.ClickException(
            f"--params {others}: {one_line(error)}; put the value in quotation marks, as in "
            "--params 'key=\"value\"'"
        ) from error


@cli.command("export-checkpoint")
@click.option(
    "--method", default=PUBLISHED_METHOD, show_default=True, help="Method of the checkpoint."
)
@click.option("--checkpoint", default="last", show_default=True, help="Selection rule.")
@click.option("--seed", default=0, show_default=True, help="Seed of the network.")
@click.option("--to", type=click.Path(path_type=Path, file_okay=False), required=True)
@click.option("--params", cls=_ParamsOption, help="As for kedro run.")
@_with_one_line_errors
def export_checkpoint(
    method: str, checkpoint: str, seed: int, to: Path, params: dict[str, Any]
) -> None:
    """Write trained networks as published code stores them.

    The folder TO will contain best_model_l.th and best_model_b.th, which scripts written for that
    code read, and which --params pretrained=TO evaluates.
    """
    with KedroSession.create(runtime_params=params) as session:
        context = cast(KedroSession, session).load_context()
        if not context.catalog.exists(f"{method}.checkpoint"):
            if method not in method_names():
                raise UserError(unknown("method", method, method_names()))
            setting = "dataset={dataset},percent={percent}".format(**context.params)
            raise UserError(
                f"There is no checkpoint of {method} yet ({setting}); run first: kedro run "
                f"--pipeline={method} --params {setting}"
            )
        trained = Checkpoint.from_catalog(context.catalog.load(f"{method}.checkpoint"))
    for path in write_published(trained, checkpoint, seed, to):
        click.echo(path)


@cli.command("save-references")
@click.option("--params", cls=_ParamsOption, help="As for kedro run --pipeline=benchmark.")
@click.option("--env", help="As for kedro run.")
@_with_one_line_errors
def save_references(params: dict[str, Any], env: str | None) -> None:
    """Write the finished trials of the grid to docs/reference, for others to compare with.

    Run it on the machine that ran the trials, as each file names the machine.
    """
    with KedroSession.create(env=env, runtime_params=params) as session:
        context = cast(KedroSession, session).load_context()
        loader = cast(ProjectConfigLoader, context.config_loader)
        destination = destination_of(loader, mlflow_config(loader))
        store, parameters, catalog = Store(destination), context.params, context.catalog
        trials, data_seed = trials_of(parameters), parameters["data_seed"]

        def tags_of_run(run_id: str) -> dict[str, str]:
            with _mlflow_errors(destination, "it has the commit of each trial"):
                return store.tags(run_id)

        made = {
            file_name(trial): make_reference(trial, catalog, data_seed, tags_of_run)
            for trial in trials
        }
        done = {name: each.model_dump() for name, each in made.items() if each is not None}
        if not done:
            raise UserError(
                "No trial of the grid is done, so there is nothing to save; run this first: "
                f"{grid_command('benchmark', parameters)}"
            )
        catalog.save(REFERENCES, done)
    click.echo(f"Saved {len(done)} of {len(trials)} trials: {', '.join(done)}")


def _model_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that select a trained network."""
    options = (
        click.option("--model", required=True, help="Checkpoint file, run folder or MLflow URI."),
        click.option(
            "--rule", type=click.Choice([*SELECTION_RULES]), default="last", show_default=True
        ),
        click.option("--seed", type=int, help="Seed of the model; by default its first."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@cli.command("export-model")
@_model_options
@click.option("--to", type=click.Path(path_type=Path, dir_okay=False), required=True, help="File.")
@click.option("--format", type=click.Choice(FORMATS), default="onnx", show_default=True)
@_with_one_line_errors
def export_model(model: str, to: Path, format: Format, rule: str, seed: int | None) -> None:
    """Write a trained model with its preprocessing as ONNX or TorchScript.

    Input `images`: uint8, n x H x W x 3, RGB. Output `probabilities`: float32, n x labels. The
    names of the labels are in the file.
    """
    classifier = load_classifier(model, rule, seed)
    export(classifier, to, format)
    height, width = classifier.image_size
    click.echo(f"{to}: images {height} x {width}, labels {', '.join(classifier.label_names)}")


def _project_and_destination(env: str | None) -> tuple[Path, Destination]:
    """Return the project's folder, and where MLflow keeps its runs."""
    with KedroSession.create(env=env) as session:
        context = cast(KedroSession, session).load_context()
        loader = cast(ProjectConfigLoader, context.config_loader)
        return Path(context.project_path), destination_of(loader, mlflow_config(loader))


@contextmanager
def _mlflow_errors(destination: Destination, remedy: str) -> Iterator[None]:
    """Turn an error of MLflow into one line that names the store."""
    try:
        yield
    except Exception as error:
        raise UserError(
            f"MLflow at {destination.uri} (set by {destination.source}) cannot be used: "
            f"{reason(error)}; {remedy}"
        ) from error


@cli.command("log-model")
@_model_options
@click.option("--env", help="As for kedro run.")
@_with_one_line_errors
def log_model_command(model: str, rule: str, seed: int | None, env: str | None) -> None:
    """Log a trained model to MLflow, for mlflow.pyfunc.load_model and `mlflow models serve`."""
    import mlflow

    from debias_pipeline.use.mlflow_model import log_model

    _, destination = _project_and_destination(env)
    mlflow.set_tracking_uri(destination.uri)
    mlflow.set_experiment(destination.experiment)
    with mlflow.start_run(run_name="log-model"):
        click.echo(log_model(model, rule, seed))


@cli.command("mlflow-sync")
@click.option("--env", help="As for kedro run.")
@_with_one_line_errors
def mlflow_sync(env: str | None) -> None:
    """Send runs to MLflow that it did not receive, e.g. as its server was down.

    Runs that were killed are marked as KILLED. Runs that are still running are not touched.
    """
    project, destination = _project_and_destination(env)
    with _mlflow_errors(destination, "nothing is lost, run this command again later"):
        sent = send_abandoned(Store(destination), project / PENDING_FOLDER, any_host=True)
    for rejection in sent.rejected:
        click.echo(f"MLflow rejected a part of a run: {rejection}")
    if sent.left:
        raise UserError(f"Not sent: {'; '.join(sent.left)}")
    if not sent.runs:
        click.echo("Nothing to send")
        return
    click.echo(f"{sent.runs} run{'s' * (sent.runs > 1)} sent to {destination.uri}")


@cli.command("clean-runs")
@click.option(
    "--keep", type=click.IntRange(min=1), required=True, help="Number of versions to keep."
)
@click.option("--dry-run", is_flag=True, help="List what would be deleted; nothing is deleted.")
@click.option("--env", help="As for kedro run.")
@_with_one_line_errors
def clean_runs(keep: int, dry_run: bool, env: str | None) -> None:
    """Delete all but the newest versions of every result: checkpoints, tables, reports.

    These stay: data sets, results without versions (suspects.csv, to_label.csv), snapshots of
    interrupted trainings, MLflow runs, and what a training saved together with a checkpoint that
    is kept. MLflow models stay usable. Index pages are updated.
    """
    with KedroSession.create(env=env) as session:
        context = cast(KedroSession, session).load_context()
        root = str(cast(ProjectConfigLoader, context.config_loader)["globals"]["root"])
        if "://" in root:
            raise UserError(
                f"root={root} of globals.yml is not a local folder; delete versions with the tools "
                "of the store"
            )
        old = find_old_versions(Path(context.project_path) / root, keep)
        for each in old:
            if dry_run:
                click.echo(each.folder)
                continue
            try:
                each.delete()
            except OSError as error:
                raise UserError(
                    f"{each.folder} cannot be deleted: {one_line(error)}; make it writable"
                ) from error
        if old and not dry_run:
            update_existing_indexes(context.catalog)
    files, size = sum(len(each.files) for each in old), sum(each.size for each in old)
    linked = sum(each.linked for each in old)
    click.echo(
        f"{'Would delete' if dry_run else 'Deleted'} {len(old):,} versions: {files:,} files, "
        f"{size:,} bytes"
        + (f", of which {linked:,} stay on disk, as other files link to them" if linked else "")
    )


_DRY_RUN = click.Option(
    ["--dry-run"],
    is_flag=True,
    help="List the trials of --pipeline=benchmark, which of them have results, and an estimate of "
    "the time left; nothing is run.",
)

_OWN_OPTIONS = {
    "params": _ParamsOption(["--params"], help=PARAMS_ARG_HELP),
    "pipeline": click.Option(["--pipeline", "-p"], help="Name of the pipeline to run."),
    "dry_run": _DRY_RUN,
}


class _RunCommand(click.Command):
    """The command `run`, which prints a one-line error if the file of --config is not YAML."""

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Parse the command line."""
        try:
            return super().make_context(*args, **kwargs)
        except YAMLError as error:
            raise click.ClickException(f"--config is not YAML: {one_line(error)}") from error


# Kedro imports this name when the packaged project is run.
run = _RunCommand(
    name="run",
    callback=_with_one_line_errors(_run_known_pipelines),
    params=[
        *(option for option in kedro_run.params if option.name not in _OWN_OPTIONS),
        *_OWN_OPTIONS.values(),
    ],
    help=kedro_run.help,
)
cli.add_command(run)
