"""Commands on models, references, results and MLflow; imported when one of them is used."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import click
from kedro.framework.session import KedroSession

from debias_pipeline.command_line import ParamsOption, with_one_line_errors
from debias_pipeline.config_loader import ProjectConfigLoader
from debias_pipeline.errors import UserError, one_line
from debias_pipeline.grid import (
    REFERENCES,
    file_name,
    grid_command,
    make_reference,
    trials_of,
)
from debias_pipeline.hooks.report_index import update_existing_indexes
from debias_pipeline.methods import method_names
from debias_pipeline.old_versions import find_old_versions
from debias_pipeline.pipeline_registry import PUBLISHED_METHOD
from debias_pipeline.registry import unknown
from debias_pipeline.selection_rules import SELECTION_RULES
from debias_pipeline.tracking import (
    PENDING_FOLDER,
    Destination,
    destination_of,
    mlflow_settings,
    reason,
    send_abandoned,
)
from debias_pipeline.tracking.store import Store
from debias_pipeline.training import Checkpoint, write_published
from debias_pipeline.use import FORMATS, Format, export, load_classifier


@click.command("export-checkpoint")
@click.option(
    "--method", default=PUBLISHED_METHOD, show_default=True, help="Method of the checkpoint."
)
@click.option("--checkpoint", default="last", show_default=True, help="Selection rule.")
@click.option("--seed", default=0, show_default=True, help="Seed of the network.")
@click.option("--to", type=click.Path(path_type=Path, file_okay=False), required=True)
@click.option("--params", cls=ParamsOption, help="As for kedro run.")
@with_one_line_errors
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


@click.command("save-references")
@click.option("--params", cls=ParamsOption, help="As for kedro run --pipeline=benchmark.")
@click.option("--env", help="As for kedro run.")
@with_one_line_errors
def save_references(params: dict[str, Any], env: str | None) -> None:
    """Write the finished trials of the grid to docs/reference, for others to compare with.

    Run it on the machine that ran the trials, as each file names the machine.
    """
    with KedroSession.create(env=env, runtime_params=params) as session:
        context = cast(KedroSession, session).load_context()
        loader = cast(ProjectConfigLoader, context.config_loader)
        destination = destination_of(loader, mlflow_settings(loader))
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


@click.command("export-model")
@_model_options
@click.option("--to", type=click.Path(path_type=Path, dir_okay=False), required=True, help="File.")
@click.option("--format", type=click.Choice(FORMATS), default="onnx", show_default=True)
@with_one_line_errors
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
        return Path(context.project_path), destination_of(loader, mlflow_settings(loader))


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


@click.command("log-model")
@_model_options
@click.option("--env", help="As for kedro run.")
@with_one_line_errors
def log_model_command(model: str, rule: str, seed: int | None, env: str | None) -> None:
    """Log a trained model to MLflow, for mlflow.pyfunc.load_model and `mlflow models serve`."""
    import mlflow

    from debias_pipeline.use.mlflow_model import log_model

    _, destination = _project_and_destination(env)
    mlflow.set_tracking_uri(destination.uri)
    mlflow.set_experiment(destination.experiment)
    with mlflow.start_run(run_name="log-model"):
        click.echo(log_model(model, rule, seed))


@click.command("mlflow-sync")
@click.option("--env", help="As for kedro run.")
@with_one_line_errors
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


@click.command("clean-runs")
@click.option(
    "--keep", type=click.IntRange(min=1), required=True, help="Number of versions to keep."
)
@click.option("--dry-run", is_flag=True, help="List what would be deleted; nothing is deleted.")
@click.option("--env", help="As for kedro run.")
@with_one_line_errors
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
