"""Send journals to an MLflow store."""

import json
import logging
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import numpy as np
import sqlalchemy
from mlflow import MlflowClient
from mlflow.data.schema import TensorDatasetSchema
from mlflow.entities import (
    Dataset,
    DatasetInput,
    Experiment,
    InputTag,
    LoggedModel,
    LoggedModelOutput,
    Metric,
    Param,
    RunTag,
    ViewType,
)
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.models.model import MLMODEL_FILE_NAME
from mlflow.types import Schema, TensorSpec
from mlflow.utils.file_utils import local_file_uri_to_path
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT, MLFLOW_PARENT_RUN_ID
from mlflow.utils.uri import is_local_uri
from mlflow.utils.validation import (
    MAX_DATASET_DIGEST_SIZE,
    MAX_DATASET_NAME_SIZE,
    MAX_PARAM_VAL_LENGTH,
    MAX_TAG_VAL_LENGTH,
)

from debias_pipeline.errors import one_line
from debias_pipeline.files import link_or_copy, replacing
from debias_pipeline.names import SQLITE
from debias_pipeline.tracking.journal import (
    CLOSE_CHILDREN,
    DATASET,
    END,
    KILLED,
    LOG,
    START,
    Journal,
    NotSendableError,
    read_state,
)
from debias_pipeline.tracking.settings import Destination

logger = logging.getLogger(__name__)

# Finds a run whose creation got no answer, so that it is not created twice.
KEY_TAG: Final = "debias_pipeline.key"

_DATABASES = ("sqlite", "postgresql", "mysql", "mssql")

# Errors of a store that works, for requests that would fail again.
_REJECTIONS = ("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST", "INVALID_STATE")

# Seconds, and further attempts. MLflow's own defaults wait for more than ten minutes.
_TIMEOUTS = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "4", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}

# MLflow's limit for one search; no grid runs more trials at a time.
_MOST_RUNNING = 50000


class Store:
    """Sends journals to MLflow; every method raises an exception if MLflow cannot be reached."""

    def __init__(self, destination: Destination) -> None:
        self._destination = destination

    def send(self, journal: Journal) -> Iterator[str]:
        """Send what was not sent yet.

        Yields:
            What MLflow rejected, as one line; it is not tried again.

        Raises:
            NotSendableError: if the run's parent does not exist yet, or the run was created in
                another store.
            Exception: if MLflow cannot be reached.
        """
        if journal.state.uri not in (None, self._destination.uri):
            raise NotSendableError(f"{journal.folder} belongs to {journal.state.uri}")
        unsent = journal.read(journal.state.sent)
        for kind, group in groupby(unsent, lambda each: each[0]["kind"]):
            records, ends = zip(*group, strict=True)
            if kind == START:
                self._start(journal, records[0])
            else:
                yield from self._apply_accepted(journal.state.run_id, kind, list(records))
            journal.update_state(sent=ends[-1])
        for path, folder in list(journal.artifacts()):
            before = path.stat()
            with _rejections() as rejected:
                self._client.log_artifact(journal.state.run_id, str(path), folder)
            yield from rejected
            # A newer file of this name may have replaced it.
            if path.stat().st_ino == before.st_ino:
                path.unlink()
        if journal.model.is_dir():
            with _rejections() as rejected:
                self._send_model(journal)
            yield from rejected
            shutil.rmtree(journal.model)

    def tags(self, run_id: str) -> dict[str, str]:
        """Return the tags of a run and of its parents; those of the run win."""
        own: dict[str, str] = self._client.get_run(run_id).data.tags
        parent = own.get(MLFLOW_PARENT_RUN_ID)
        return {**(self.tags(parent) if parent else {}), **own}

    def _send_model(self, journal: Journal) -> None:
        """Upload the model of a run as MLflow's `runs:/<id>/model`.

        Each file is deleted from the journal when it is uploaded, so that a retry uploads only the
        rest; the main file MLmodel is kept, as a retry reads it.
        """
        run_id, experiment_id = journal.state.run_id, journal.state.experiment_id
        # An earlier attempt may have created it.
        found = self._client.search_logged_models([experiment_id], f"source_run_id = '{run_id}'")
        name = journal.model.name
        model = found[0] if found else self._client.create_logged_model(experiment_id, name, run_id)
        main_file = journal.model / MLMODEL_FILE_NAME
        description = Model.load(str(main_file))
        description.run_id, description.model_id = run_id, model.model_id
        description.save(str(main_file))
        for file in [each for each in journal.model.rglob("*") if each.is_file()]:
            self._upload(model, file, file.relative_to(journal.model))
            # A later attempt uploads the rest, for which it reads the main file.
            if file != main_file:
                file.unlink()
        self._client.log_outputs(run_id, [LoggedModelOutput(model.model_id, 0)])
        self._client.finalize_logged_model(model.model_id, "READY")

    def _upload(self, model: LoggedModel, file: Path, name: Path) -> None:
        """Upload a file of a model, or link to it on this disk, as networks may be large."""
        if is_local_uri(model.artifact_location):
            folder = Path(local_file_uri_to_path(model.artifact_location))
            with replacing(folder / name) as temporary:
                link_or_copy(file, temporary)
        else:
            folder_there = name.parent.as_posix() if name.parent.name else None
            self._client.log_model_artifact(model.model_id, str(file), folder_there)

    @cached_property
    def _client(self) -> Any:
        for name, value in _TIMEOUTS.items():
            os.environ.setdefault(name, value)
        # It logs whole tracebacks of what it raises.
        logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
        uri = self._destination.uri
        if uri.startswith(_DATABASES):
            _check_database(uri)
        return MlflowClient(uri)

    def _start(self, journal: Journal, fields: dict[str, Any]) -> None:
        """Create the run, or find the one that is continued."""
        parent_id, experiment_id = fields["parent_run_id"], fields["experiment_id"]
        parent = journal.folder.parent / fields["parent"] if fields["parent"] else None
        if parent is not None and parent.is_dir():
            state = read_state(parent)
            parent_id, experiment_id = state.run_id, state.experiment_id
            if parent_id is None:
                raise NotSendableError(parent.name)
        if fields["continues_parent"]:
            run = self._client.get_run(parent_id)
        elif fields["run_id"]:
            run = self._client.get_run(fields["run_id"])
            self._client.update_run(run.info.run_id, "RUNNING")
        else:
            if parent_id and fields["replaces"]:
                self._close_children(parent_id, fields["name"])
            run = self._created(journal, experiment_id or self._experiment_id, parent_id, fields)
        journal.update_state(
            uri=self._destination.uri, run_id=run.info.run_id, experiment_id=run.info.experiment_id
        )

    def _created(
        self, journal: Journal, experiment_id: str, parent_id: str | None, fields: dict[str, Any]
    ) -> Any:
        if journal.state.attempted:
            # A server that hangs may have executed the request later.
            wanted = f"tags.`{KEY_TAG}` = '{journal.key}'"
            for run in self._client.search_runs([experiment_id], wanted, ViewType.ALL):
                return run
        journal.update_state(attempted=True)
        # Journals of earlier versions have no context.
        given = {**fields.get("context", {}), **fields["tags"]}
        tags = {name: value[:MAX_TAG_VAL_LENGTH] for name, value in given.items()}
        tags[KEY_TAG] = journal.key
        if parent_id:
            tags[MLFLOW_PARENT_RUN_ID] = parent_id
        return self._client.create_run(experiment_id, fields["time"], tags, fields["name"])

    def _apply_accepted(
        self, run_id: str | None, kind: str, records: list[dict[str, Any]]
    ) -> Iterator[str]:
        """Apply records of one kind, each on its own if MLflow rejects them together."""
        with _rejections() as rejected:
            self._apply(run_id, kind, records)
        if len(records) == 1:
            yield from rejected
        elif rejected:
            for record in records:
                yield from self._apply_accepted(run_id, kind, [record])

    def _apply(self, run_id: str | None, kind: str, records: list[dict[str, Any]]) -> None:
        if kind == LOG:
            self._client.log_batch(
                run_id,
                metrics=[
                    Metric(name, value, record["time"], record["step"])
                    for record in records
                    for name, value in record["metrics"].items()
                ],
                params=[
                    Param(name, value[:MAX_PARAM_VAL_LENGTH])
                    for record in records
                    for name, value in record["params"].items()
                ],
                # Journals of earlier versions have none.
                tags=[
                    RunTag(name, value[:MAX_TAG_VAL_LENGTH])
                    for record in records
                    for name, value in record.get("tags", {}).items()
                ],
            )
        elif kind == DATASET:
            self._client.log_inputs(run_id, [_dataset_input(record) for record in records])
        elif kind == CLOSE_CHILDREN:
            self._close_children(run_id)
        elif kind == END and records[-1]["status"]:
            self._client.set_terminated(run_id, records[-1]["status"], records[-1]["time"])

    def _close_children(self, parent_id: str | None, name: str | None = None) -> None:
        """Mark running children as KILLED, all or those of one name."""
        experiment = self._client.get_run(parent_id).info.experiment_id
        wanted = f"attributes.status = 'RUNNING' and tags.`{MLFLOW_PARENT_RUN_ID}` = '{parent_id}'"
        for run in self._client.search_runs([experiment], wanted, max_results=_MOST_RUNNING):
            # The name of a folder may have quotes, which a filter cannot express.
            if name in (None, run.info.run_name):
                self._client.set_terminated(run.info.run_id, KILLED)

    @cached_property
    def _experiment_id(self) -> str:
        """Return the id of the experiment, which is created if it is missing."""
        name, artifacts = self._destination.experiment, self._destination.artifacts
        found = self._client.get_experiment_by_name(name)
        if found is None:
            try:
                self._client.create_experiment(name, artifacts)
            except MlflowException as error:
                # Another process may have created it.
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
            found = self._client.get_experiment_by_name(name)
        if found.lifecycle_stage == "deleted":
            self._client.restore_experiment(found.experiment_id)
        if artifacts not in (None, found.artifact_location):
            self._move_artifacts(found, artifacts)
        return str(found.experiment_id)

    def _move_artifacts(self, experiment: Experiment, artifacts: str) -> None:
        """Point a moved project's experiment to the project's own artifacts.

        MLflow stores absolute locations and cannot change them, hence SQL.
        """
        old, file = experiment.artifact_location, database_file(self._destination.uri)
        own_folder = Path(local_file_uri_to_path(artifacts)) == file.with_name("mlruns")
        if not own_folder or Path(local_file_uri_to_path(old)).name != "mlruns":
            logger.info(
                "MLflow keeps artifacts of experiment %s in %s, as the experiment was created "
                "with this location",
                experiment.name,
                old,
            )
            return
        with closing(sqlite3.connect(file, timeout=4)) as database, database:
            for table, column in (
                ("experiments", "artifact_location"),
                ("runs", "artifact_uri"),
                ("logged_models", "artifact_location"),
            ):
                database.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?)"
                    f" WHERE experiment_id = ? AND substr({column}, 1, ?) = ?",
                    (artifacts, len(old) + 1, experiment.experiment_id, len(old), old),
                )
        logger.info(
            "The project was moved: its MLflow artifacts are now in %s, not %s", artifacts, old
        )


@contextmanager
def _rejections() -> Iterator[list[str]]:
    """Catch the error if MLflow rejects a request, and append it to the list that is yielded.

    The error is appended as one line. Other errors, such as of the connection, are raised.
    """
    rejected: list[str] = []
    try:
        yield rejected
    except MlflowException as error:
        if error.error_code not in _REJECTIONS:
            raise
        rejected.append(one_line(error))


def _dataset_input(record: dict[str, Any]) -> DatasetInput:
    """Return MLflow's record of a `run.Dataset`."""
    images = TensorSpec(np.dtype("uint8"), (-1, *record["shape"]), "image")
    labels = TensorSpec(np.dtype("int16"), (-1,), "label")
    schema = TensorDatasetSchema(Schema([images]), Schema([labels]))
    dataset = Dataset(
        name=record["name"][:MAX_DATASET_NAME_SIZE],
        digest=record["digest"][:MAX_DATASET_DIGEST_SIZE],
        source_type="local",
        source=json.dumps({"uri": record["source"]}),
        schema=json.dumps(schema.to_dict()),
        profile=json.dumps(record["facts"]),
    )
    return DatasetInput(dataset, [InputTag(MLFLOW_DATASET_CONTEXT, "training")])


def database_file(uri: str) -> Path:
    """Return the file of a SQLite store."""
    return Path(uri.removeprefix(SQLITE).partition("?")[0])


def _check_database(uri: str) -> None:
    """Try to open a database once; MLflow itself would retry for an hour.

    An SQLite file that is missing is created, with MLflow's tables.
    """
    if uri.startswith(SQLITE):
        file = database_file(uri)
        file.parent.mkdir(parents=True, exist_ok=True)
        if not file.exists():
            _create_database(file)
    engine = sqlalchemy.create_engine(uri, poolclass=sqlalchemy.pool.NullPool)
    sqlalchemy.inspect(engine).get_table_names()


def _create_database(file: Path) -> None:
    """Create MLflow's tables in a temporary file, and move it to `file`.

    A process that is killed meanwhile leaves a database that MLflow rejects as out of date.
    """
    temporary = file.with_name(f".{file.name}.{uuid4().hex}.tmp")
    try:
        MlflowClient(f"{SQLITE}{temporary}").search_experiments(max_results=1)
        try:
            # Unlike a renamed file, a link does not replace the database of another process.
            with suppress(FileExistsError):
                file.hardlink_to(temporary)
        except OSError:
            # Some file systems have no links.
            temporary.rename(file)
    finally:
        temporary.unlink(missing_ok=True)
