"""A real MLflow server that is down, dies or hangs, and stores that cannot be opened."""

import os
import shutil
import signal
import socket
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest
from forked_kedro import ForkedKedro
from mlflow.entities import Run
from throwaway_project import Project

from forked import ForkedProcess
from in_browser import needs_chromium, opened
from mlflow_store import empty_database, mlflow_command

pytestmark = pytest.mark.slow

VARIABLE = "MLFLOW_TRACKING_URI"
STEPS = 100
PARAMS = {
    "device": "cpu", "recipe__steps": STEPS, "recipe__eval_every": 20, "recipe__batch_size": 64,
}  # fmt: skip


class Server:
    """`mlflow server` on a free port, with a SQLite store."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        (folder / "mlflow.db").write_bytes(empty_database())
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"
        self.client = mlflow.MlflowClient(self.uri)
        self._process: ForkedProcess | None = None

    def start(self) -> None:
        options = [
            *("--workers=1", "--host=127.0.0.1", f"--port={self.port}"),
            f"--backend-store-uri=sqlite:///{self.folder}/mlflow.db",
            f"--artifacts-destination={(self.folder / 'artifacts').as_uri()}",
        ]
        environment = {name: value for name, value in os.environ.items() if name != VARIABLE}
        environment["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"
        self._process = ForkedProcess(mlflow_command, "server", *options, environment=environment)
        deadline = time.monotonic() + 90
        while not self._answers():
            assert time.monotonic() < deadline, "mlflow server does not start"
            time.sleep(0.2)

    def send_signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, number)
            if number == signal.SIGKILL:
                self._process.wait()
                self._process = None

    def runs(self) -> list[Run]:
        experiment = self.client.get_experiment_by_name("debias-pipeline")
        return [] if experiment is None else self.client.search_runs([experiment.experiment_id])

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=1) as answer:
                return answer.status == 200
        except OSError:
            return False


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    server = Server(tmp_path / "server")
    monkeypatch.setenv(VARIABLE, server.uri)
    try:
        yield server
    finally:
        server.send_signal(signal.SIGKILL)


def start_training(project: Project) -> ForkedKedro:
    return project.start_kedro("--pipeline=vanilla", output=project.path / "log", **PARAMS)


def finished(training: ForkedKedro) -> str:
    exit_code = training.wait(200)
    output = training.output.read_text()
    assert exit_code == 0, output
    assert "vanilla report: " in output
    return output


def check_run(server: Server) -> None:
    """The server has one run, with everything."""
    [run] = server.runs()
    assert run.info.status == "FINISHED"
    curve = server.client.get_metric_history(run.info.run_id, "seed0/loss")
    assert [each.step for each in curve] == [*range(20, STEPS + 1, 20)]
    assert run.data.params["recipe.steps"] == str(STEPS)
    assert run.data.tags["method"] == "vanilla"
    assert "last/accuracy" in run.data.metrics
    names = {each.path for each in server.client.list_artifacts(run.info.run_id)}
    assert names == {"data", "figures", "report.html", "tables"}
    [model] = run.outputs.model_outputs
    assert {"MLmodel", "checkpoint.safetensors"} <= {
        each.path for each in server.client.list_logged_model_artifacts(model.model_id)
    }


def test_a_server_that_dies_in_the_middle(server: Server, empty_project: Project):
    server.start()
    training = start_training(empty_project)
    while not [run for run in server.runs() if "seed0/loss" in run.data.metrics]:
        assert training.poll() is None
        time.sleep(0.05)
    server.send_signal(signal.SIGKILL)
    output = finished(training)
    assert output.count("WARNING") == 1, output
    failed = empty_project.command("mlflow-sync")
    assert failed.exit_code == 1
    assert len(failed.stderr.splitlines()) == 1
    assert server.uri in failed.stderr
    assert VARIABLE in failed.stderr
    server.start()
    sent = empty_project.command("mlflow-sync")
    assert sent.stdout.endswith(f"1 run sent to {server.uri}\n")
    check_run(server)
    assert "Nothing to send" in empty_project.command("mlflow-sync").stdout


def test_a_server_that_hangs_from_the_start_and_comes_back(server: Server, empty_project: Project):
    server.start()
    server.send_signal(signal.SIGSTOP)
    output = finished(start_training(empty_project))
    assert output.count("WARNING") == 1, output
    server.send_signal(signal.SIGCONT)
    assert empty_project.command("mlflow-sync").exit_code == 0
    check_run(server)


def test_a_server_that_is_down_at_the_start_gets_all_at_the_end(
    server: Server, empty_project: Project
):
    training = start_training(empty_project)
    while "WARNING" not in training.output.read_text():
        assert training.poll() is None
        time.sleep(0.05)
    training.send_signal(signal.SIGSTOP)
    server.start()
    training.send_signal(signal.SIGCONT)
    output = finished(training)
    assert output.count("WARNING") == 1, output
    check_run(server)


@needs_chromium
def test_a_run_is_shown_in_a_browser(server: Server, trained_project: Project):
    shutil.copy(trained_project.path / "mlflow.db", server.folder)
    server.start()
    by_method = {run.data.tags["method"]: run for run in server.runs()}
    run = by_method["disent"]
    runs = f"{server.uri}/#/experiments/{run.info.experiment_id}/runs"
    # MLflow's pages ask their server for what it does not have, and log a layout that is not done
    # within a frame, as on a busy machine.
    own_faults = (
        "Failed to load resource: the server responded with a status of 404",
        "null ResizeObserver loop completed with undelivered notifications",
    )
    with opened(runs, ignored=own_faults) as page:
        page.get_by_text(by_method["vanilla,disent"].info.run_name).first.wait_for()
        page.goto(f"{runs}/{run.info.run_id}")
        page.get_by_role("heading", name=run.info.run_name).wait_for()
        page.get_by_text("last/accuracy", exact=True).wait_for()


@pytest.mark.parametrize("store", ["damaged", "a folder"])
def test_a_store_that_cannot_be_opened_is_one_warning(empty_project: Project, store: str):
    file = empty_project.path / "mlflow.db"
    if store == "damaged":
        file.write_bytes(b"not a database" * 1000)
    else:
        file.unlink()
        file.mkdir()
    outcome = empty_project.kedro("--pipeline=ingestion")
    assert outcome.exit_code == 0, outcome.stderr
    output = outcome.stdout + outcome.stderr
    assert output.count("WARNING") == 1, output
    assert len(output.splitlines()) < 30, output
    assert "conf/base/mlflow.yml" in output
    assert f"sqlite:///{file}" in output
    file.unlink() if file.is_file() else shutil.rmtree(file)
    assert empty_project.command("mlflow-sync").exit_code == 0
    [run] = empty_project.mlflow_runs()
    assert run.info.status == "FINISHED"


def test_commands_that_track_nothing_do_not_contact_mlflow(server: Server, empty_project: Project):
    outcome = empty_project.kedro("--pipeline=benchmark", "--dry-run")
    assert outcome.exit_code == 0, outcome.stderr
    export = empty_project.command("export-checkpoint", "--to=networks")
    assert "no checkpoint of disent yet" in export.stderr
    assert "MLflow" not in outcome.stdout + outcome.stderr + export.stdout + export.stderr


def test_async_loading_and_saving_is_one_run(empty_project: Project):
    outcome = empty_project.run("--pipeline=vanilla", "--async", **PARAMS)
    assert outcome.exit_code == 0, outcome.stderr
    [run] = empty_project.mlflow_runs()
    assert run.info.status == "FINISHED"
    assert {"last/accuracy", "seed0/loss"} <= run.data.metrics.keys()


def test_ctrl_c_ends_the_run_as_killed(empty_project: Project):
    training = empty_project.start_kedro("--pipeline=vanilla", recipe__steps=10_000_000)
    try:
        pending = empty_project.path / "mlflow_pending"
        while not [
            path for path in pending.glob("*/state.json") if '"run_id": "' in path.read_text()
        ]:
            assert training.poll() is None
            time.sleep(0.05)
        training.send_signal(signal.SIGINT)
        assert training.wait(60) != 0
    finally:
        training.send_signal(signal.SIGKILL)
    assert [run.info.status for run in empty_project.mlflow_runs()] == ["KILLED"]
