"""The MLflow store that runs are sent to."""

import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import sqlalchemy
from mlflow import MlflowClient
from mlflow.entities import Experiment, Metric, Param, RunStatus, RunTag, ViewType
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from debias_pipeline.errors import one_line
from debias_pipeline.tracking.records import (
    CLOSE,
    CLOSE_CHILDREN,
    END,
    LOG,
    START,
    RunRecords,
)

logger = logging.getLogger(__name__)

# Identifies a run whose creation got no answer, so that it is not created twice.
KEY_TAG: Final = "debias_pipeline.key"

SQLITE: Final = "sqlite:///"
DEFAULT_STORE: Final = "sqlite:///mlflow.db"
_DATABASES = ("sqlite", "postgresql", "mysql", "mssql")

# Answers of a store that works, to a request that will fail again.
_REFUSALS = ("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST", "INVALID_STATE")

# Seconds, and further attempts. MLflow's own defaults wait for more than ten minutes.
_TIMEOUTS = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "4", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}

# As many as MLflow returns at once; no grid runs more at a time.
_MOST_RUNNING = 50000

KILLED = RunStatus.to_string(RunStatus.KILLED)


class ParentNotSentError(Exception):
    """The parent of a run does not exist in MLflow yet."""


@dataclass(frozen=True)
class Destination:
    """Where MLflow keeps the runs of a project.

    Attributes:
        uri: the tracking URI.
        source: the file or variable that sets it.
        experiment: name of the experiment.
        artifacts: URI of the folder for artifacts of a new experiment; None is MLflow's default.
    """

    uri: str
    source: str
    experiment: str
    artifacts: str | None = None


class Store:
    """Sends records to MLflow. Every method raises an exception if MLflow cannot be reached."""

    def __init__(self, destination: Destination) -> None:
        self._destination = destination
        self._experiment_id: str | None = None
        self._client: Any = None

    def send(self, records: RunRecords) -> Iterator[str]:
        """Send what was not sent yet.

        Yields:
            What MLflow refused, as one line; it is not tried again.

        Raises:
            ParentNotSentError: if the run belongs to one that does not exist yet.
            Exception: if MLflow cannot be reached.
        """
        state = records.state
        if state.uri not in (None, self._destination.uri):
            raise ParentNotSentError(f"{records.folder} belongs to {state.uri}")
        for kind, group in groupby(records.read(state.sent), lambda each: each[0]["kind"]):
            found = list(group)
            if kind == START:
                self._start(records, found[0][0])
            else:
                run_id = records.state.run_id
                yield from self._accepted(run_id, kind, [record for record, _ in found])
            records.update_state(sent=found[-1][1])
        run_id = records.state.run_id
        for path, artifact_path in list(records.artifacts()):
            before = path.stat()
            self.client.log_artifact(run_id, str(path), artifact_path)
            # A newer file of this name may have taken its place.
            if path.stat().st_ino == before.st_ino:
                path.unlink()

    @property
    def client(self) -> Any:
        """MLflow's client."""
        if self._client is None:
            for name, value in _TIMEOUTS.items():
                os.environ.setdefault(name, value)
            # It logs whole tracebacks of what it raises.
            logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
            uri = self._destination.uri
            if uri.startswith(_DATABASES):
                _check_database(uri)
            self._client = MlflowClient(uri)
        return self._client

    def _start(self, records: RunRecords, fields: dict[str, Any]) -> None:
        parent_id, experiment_id = fields["parent_run_id"], fields["experiment_id"]
        if fields["parent"]:
            parent = RunRecords(records.folder.parent / fields["parent"])
            if parent.folder.is_dir():
                parent_id, experiment_id = parent.state.run_id, parent.state.experiment_id
                if parent_id is None:
                    raise ParentNotSentError(parent.key)
        if fields["continues_parent"]:
            run = self.client.get_run(parent_id)
        elif fields["run_id"]:
            run = self.client.get_run(fields["run_id"])
            self.client.update_run(run.info.run_id, "RUNNING")
        else:
            if parent_id and fields["replaces"]:
                self._close_children(parent_id, fields["name"])
            run = self._created(records, experiment_id or self._experiment(), parent_id, fields)
        records.update_state(
            uri=self._destination.uri,
            run_id=run.info.run_id,
            experiment_id=run.info.experiment_id,
        )

    def _created(
        self, records: RunRecords, experiment_id: str, parent_id: str | None, fields: dict[str, Any]
    ) -> Any:
        if records.state.attempted:
            # A server that hangs may do later what it was asked for.
            wanted = f"tags.`{KEY_TAG}` = '{records.key}'"
            for run in self.client.search_runs([experiment_id], wanted, ViewType.ALL):
                return run
        records.update_state(attempted=True)
        tags = {**fields["tags"], KEY_TAG: records.key}
        if parent_id:
            tags[MLFLOW_PARENT_RUN_ID] = parent_id
        return self.client.create_run(experiment_id, fields["time"], tags, fields["name"])

    def _accepted(self, run_id: Any, kind: str, records: list[dict[str, Any]]) -> Iterator[str]:
        """Send records; yield what MLflow refused."""
        try:
            self._apply(run_id, kind, records)
        except MlflowException as error:
            if error.error_code not in _REFUSALS:
                raise
            if len(records) == 1:
                yield one_line(error)
            else:
                for record in records:
                    yield from self._accepted(run_id, kind, [record])

    def _apply(self, run_id: Any, kind: str, records: list[dict[str, Any]]) -> None:
        if kind == LOG:
            self._log(run_id, records)
            return
        for record in records:
            if kind == CLOSE:
                self._close_children(record["run_id"])
                if self.client.get_run(record["run_id"]).info.status == "RUNNING":
                    self.client.set_terminated(record["run_id"], KILLED)
            elif kind == CLOSE_CHILDREN:
                self._close_children(run_id)
            elif kind == END and record["status"]:
                self.client.set_terminated(run_id, record["status"], record["time"])

    def _log(self, run_id: Any, records: list[dict[str, Any]]) -> None:
        params: dict[str, str] = {}
        tags: dict[str, str] = {}
        for record in records:
            # MLflow refuses a second value of a parameter.
            params = {**record["params"], **params}
            tags.update(record["tags"])
        self.client.log_batch(
            run_id,
            metrics=[
                Metric(name, value, record["time"], record["step"])
                for record in records
                for name, value in record["metrics"].items()
            ],
            params=[Param(*each) for each in params.items()],
            tags=[RunTag(*each) for each in tags.items()],
        )

    def _close_children(self, parent_id: str, name: str | None = None) -> None:
        """Mark running children as KILLED, all or those of one name."""
        experiment = self.client.get_run(parent_id).info.experiment_id
        wanted = f"attributes.status = 'RUNNING' and tags.`{MLFLOW_PARENT_RUN_ID}` = '{parent_id}'"
        if name is not None:
            wanted += f" and attributes.run_name = '{name}'"
        for run in self.client.search_runs([experiment], wanted, max_results=_MOST_RUNNING):
            self.client.set_terminated(run.info.run_id, KILLED)

    def _experiment(self) -> str:
        """The id of the experiment, which is created if it is missing."""
        if self._experiment_id is None:
            name, artifacts = self._destination.experiment, self._destination.artifacts
            found = self.client.get_experiment_by_name(name)
            if found is None:
                try:
                    self._experiment_id = self.client.create_experiment(name, artifacts)
                except MlflowException as error:
                    if error.error_code != "RESOURCE_ALREADY_EXISTS":
                        raise
                    # Another process was faster.
                    self._experiment_id = self.client.get_experiment_by_name(name).experiment_id
                return self._experiment_id
            if found.lifecycle_stage == "deleted":
                self.client.restore_experiment(found.experiment_id)
            self._experiment_id = found.experiment_id
            if artifacts is not None and found.artifact_location != artifacts:
                self._move_artifacts(found, artifacts)
        return self._experiment_id

    def _move_artifacts(self, experiment: Experiment, artifacts: str) -> None:
        """Point a moved project's experiment to the project's own artifacts.

        MLflow stores absolute locations and cannot change them, hence SQL.
        """
        old = experiment.artifact_location
        if _path(old).name != "mlruns" or _path(artifacts) != database_file(
            self._destination.uri
        ).with_name("mlruns"):
            logger.info(
                "MLflow keeps artifacts of experiment %s in %s, as the experiment was created "
                "with this location",
                experiment.name,
                old,
            )
            return
        file = database_file(self._destination.uri)
        with closing(sqlite3.connect(file, timeout=4)) as database, database:
            for table, column in (("experiments", "artifact_location"), ("runs", "artifact_uri")):
                database.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?)"
                    f" WHERE experiment_id = ? AND substr({column}, 1, ?) = ?",
                    (artifacts, len(old) + 1, experiment.experiment_id, len(old), old),
                )
        logger.info(
            "The project was moved: its MLflow artifacts are now in %s, not %s", artifacts, old
        )


def database_file(uri: str) -> Path:
    """The file of a SQLite store."""
    return Path(uri.removeprefix(SQLITE).partition("?")[0])


def _check_database(uri: str) -> None:
    """Try a database once; MLflow itself would retry for an hour."""
    if uri.startswith(SQLITE):
        database_file(uri).parent.mkdir(parents=True, exist_ok=True)
    engine = sqlalchemy.create_engine(uri, poolclass=sqlalchemy.pool.NullPool)
    sqlalchemy.inspect(engine).get_table_names()


def _path(location: str) -> Path:
    """The local path of a URI or path."""
    parts = urlsplit(location)
    return Path(unquote(parts.path)) if parts.scheme == "file" else Path(location)
