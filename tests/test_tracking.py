"""Runs on their way to MLflow, and the runs of a grid's trials."""

import json
import logging
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mlflow
import pytest
from kedro_mlflow.config.kedro_mlflow_config import KedroMlflowConfig
from mlflow.entities import Run
from mlflow.models import Model

from debias_pipeline.errors import UserError
from debias_pipeline.tracking import (
    FAILED,
    FINISHED,
    NOTE,
    Dataset,
    Destination,
    MethodRun,
    MlflowSettings,
    ParentRun,
    StepMetrics,
    active_parent,
    active_run,
    end_method_run,
    end_run,
    killed_when_interrupted,
    method_run,
    mlflow_settings,
    parent_elsewhere,
    resumed_parent,
    send_abandoned,
    start_run,
    trial_run,
)
from debias_pipeline.tracking.store import Store
from forked import ForkedProcess, execute
from mlflow_store import empty_database

PARENT = "mlflow.parentRunId"
NOWHERE = "http://127.0.0.1:9"


def destination(folder: Path, uri: str | None = None) -> Destination:
    return Destination(
        uri or f"sqlite:///{folder}/mlflow.db",
        "conf/base/mlflow.yml",
        "grid",
        (folder / "mlruns").as_uri(),
    )


@pytest.fixture(autouse=True)
def no_run_is_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "false")
    yield
    end_run(FINISHED)


@pytest.fixture
def client(tmp_path: Path) -> mlflow.MlflowClient:
    """Of an empty store."""
    make_store(tmp_path)
    return client_of(tmp_path)


@pytest.fixture
def parent(tmp_path: Path, client: mlflow.MlflowClient) -> ParentRun:
    """A grid's run in a store of its own, active while a test runs."""
    start(tmp_path)
    parent = active_parent()
    assert parent is not None and parent.run_id is not None
    return parent


def make_store(folder: Path) -> None:
    (folder / "mlflow.db").write_bytes(empty_database())


def client_of(folder: Path) -> mlflow.MlflowClient:
    return mlflow.MlflowClient(f"sqlite:///{folder}/mlflow.db")


def start(folder: Path, uri: str | None = None, name: str = "grid") -> None:
    start_run(destination(folder, uri), folder / "pending", name, {"method": "disent"})


def pending(folder: Path) -> list[Path]:
    return sorted((folder / "pending").glob("*/"))


def runs(client: mlflow.MlflowClient) -> list[Run]:
    """All runs, the earliest first."""
    experiment = client.get_experiment_by_name("grid")
    found = client.search_runs([experiment.experiment_id])
    return sorted(found, key=lambda run: run.info.start_time)


def children(client: mlflow.MlflowClient, parent: ParentRun) -> dict[str, list[Run]]:
    found: dict[str, list[Run]] = {}
    for run in runs(client):
        if run.data.tags.get(PARENT) == parent.run_id:
            found.setdefault(run.info.run_name, []).append(run)
    return found


def statuses(client: mlflow.MlflowClient, parent: ParentRun, name: str) -> list[str]:
    return [run.info.status for run in children(client, parent)[name]]


# --- Settings -------------------------------------------------------------------------------------

SERVER = {"mlflow_tracking_uri": "sqlite:///mlflow.db"}


def test_settings_have_the_keys_and_defaults_of_kedro_mlflow():
    ours, theirs = MlflowSettings(server=SERVER), KedroMlflowConfig(server=SERVER)
    assert ours.model_dump() == theirs.model_dump()


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"server": {**SERVER, "request_header_provider": {"kind": "own"}}}, "kind"),
        ({"server": SERVER, "tracking": {"params": {"dict_parms": {}}}}, "dict_parms"),
        ({"server": SERVER, "tracking": {"run": {"nested": "yes"}}}, "nested"),
    ],
)
def test_an_invalid_setting_is_named(settings: Any, key: str):
    with pytest.raises(UserError, match=key):
        mlflow_settings({"mlflow": settings})


# --- Trials of a grid -----------------------------------------------------------------------------


@pytest.mark.slow
def test_a_trial_is_a_child_with_recipe_curve_and_metrics(
    parent: ParentRun, client: mlflow.MlflowClient
):
    with trial_run("cmnist_1pct.vanilla", {"method": "vanilla"}) as trial:
        StepMetrics("vanilla").on_evaluation(
            20, [{"step": 20, "seed": 3, "loss": 0.5, "valid_accuracy": float("nan")}]
        )
        trial.log(
            params={"recipe": {"lr": 0.01, "network": "mlp"}},
            metrics={"last": {"accuracy": {"mean": 0.75, "std": None}}, "seconds": 2},
        )
        assert active_run() is trial
    assert active_run().run_id == parent.run_id
    [run] = children(client, parent)["cmnist_1pct.vanilla"]
    assert (trial.run_id, trial.experiment_id) == (run.info.run_id, parent.experiment_id)
    assert run.info.status == "FINISHED"
    assert run.data.tags["method"] == "vanilla"
    assert run.data.params == {"recipe.lr": "0.01", "recipe.network": "mlp"}
    assert run.data.metrics == {
        "seed3/loss": 0.5,
        "last/accuracy/mean": 0.75,
        "seconds": 2.0,
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("error", "status"), [(ValueError, "FAILED"), (KeyboardInterrupt, "KILLED")]
)
def test_an_error_ends_a_trial_and_passes_through(
    parent: ParentRun, client: mlflow.MlflowClient, error: type[BaseException], status: str
):
    with pytest.raises(error), trial_run("trial"):
        raise error
    active_run().wait()
    assert statuses(client, parent, "trial") == [status]
    assert active_run().run_id == parent.run_id


def test_nothing_is_tracked_without_a_run():
    assert active_parent() is None
    with (
        parent_elsewhere(None),
        resumed_parent(),
        trial_run("trial", {"method": "disent"}) as trial,
    ):
        trial.log({"lr": 0.1}, {"accuracy": 1.0})
        StepMetrics("disent").on_evaluation(1, [{"step": 1, "seed": 0, "loss": 1.0}])
        assert (trial.run_id, trial.experiment_id) == (None, None)


# What a worker does: it has no run of its own, and gets that of the grid.
WORKER = """
import os, pickle, signal, sys
from pathlib import Path
from debias_pipeline.tracking import StepMetrics, active_run, trial_run
from debias_pipeline.tracking import parent_elsewhere, resumed_parent

parent, worker, task = sys.argv[1:]
with parent_elsewhere(pickle.loads(bytes.fromhex(parent))):
    if task == "log to the parent":
        with resumed_parent():
            active_run().log(metrics={"data_seconds": 1.5})
    for trial in range(6):
        with trial_run(f"{worker}{trial}") as run:
            if task == "die":
                run.wait()
                os.kill(os.getpid(), signal.SIGKILL)
            for step in range(5):
                StepMetrics("m").on_evaluation(step, [{"seed": 0, "loss": 1.0 * step}])
            run.log({"lr": 0.1}, {"accuracy": 0.5})
    assert active_run().key is None
"""


def start_worker(parent: ParentRun, name: str, task: str = "") -> ForkedProcess:
    return ForkedProcess(execute, WORKER, pickle.dumps(parent).hex(), name, task)


@pytest.mark.slow
def test_two_processes_write_to_one_sqlite_file_at_once(
    parent: ParentRun, client: mlflow.MlflowClient
):
    workers = [start_worker(parent, "a", "log to the parent"), start_worker(parent, "b")]
    assert [worker.wait(60) for worker in workers] == [0, 0]
    found = [run for attempts in children(client, parent).values() for run in attempts]
    assert len(found) == 12
    assert {run.info.status for run in found} == {"FINISHED"}
    assert all(len(client.get_metric_history(r.info.run_id, "seed0/loss")) == 5 for r in found)
    above = client.get_run(parent.run_id)
    assert above.info.status == "RUNNING"
    assert above.data.metrics == {"data_seconds": 1.5}


@pytest.mark.slow
def test_a_killed_attempt_is_marked_when_the_trial_is_run_again(
    parent: ParentRun, client: mlflow.MlflowClient
):
    assert start_worker(parent, "a", "die").wait(60) == -9
    assert statuses(client, parent, "a0") == ["RUNNING"]
    with parent_elsewhere(parent), trial_run("another trial"):
        pass
    assert statuses(client, parent, "a0") == ["RUNNING"]
    with parent_elsewhere(parent), trial_run("a0"):
        pass
    assert statuses(client, parent, "a0") == ["KILLED", "FINISHED"]


@pytest.mark.slow
def test_the_grid_sends_what_its_workers_could_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    (tmp_path / "mlflow.db").mkdir()
    start(tmp_path)
    parent = active_parent()
    assert parent is not None and parent.run_id is None
    assert start_worker(parent, "a", "log to the parent").wait(60) == 0
    (tmp_path / "mlflow.db").rmdir()
    make_store(tmp_path)
    end_run(FINISHED)
    grid, *trials = runs(client_of(tmp_path))
    assert grid.data.metrics == {"data_seconds": 1.5}
    assert [run.data.tags[PARENT] for run in trials] == [grid.info.run_id] * 6
    assert {run.info.status for run in trials} == {"FINISHED"}
    assert not pending(tmp_path)
    assert len(warnings(caplog)) == 1


# --- Methods of one run ---------------------------------------------------------------------------


def start_methods(folder: Path) -> None:
    methods = {name: MethodRun(f"it's/{name}", {"method": name}, {}) for name in ("lff", "disent")}
    start_run(destination(folder), folder / "pending", "it's", methods=methods)


def test_methods_of_one_run_are_children_with_equal_metrics(
    tmp_path: Path, client: mlflow.MlflowClient
):
    start_methods(tmp_path)
    parent = active_parent()
    assert parent is not None
    for name, accuracy in (("lff", 0.5), ("disent", 0.75)):
        StepMetrics(name).on_evaluation(20, [{"seed": 0, "loss": 0.5}])
        method_run(name).log_final_metrics(
            {"last.accuracy": accuracy, "best_on_test.accuracy": 1.0, "auroc": 0.5}
        )
    end_method_run("lff")
    active_run().wait()
    assert statuses(client, parent, "it's/lff") == ["FINISHED"]
    assert statuses(client, parent, "it's/disent") == ["RUNNING"]
    end_run(FAILED)
    assert statuses(client, parent, "it's/lff") == ["FINISHED"]
    assert statuses(client, parent, "it's/disent") == ["FAILED"]
    [run] = children(client, parent)["it's/disent"]
    assert run.data.metrics.pop("last/accuracy") == 0.75
    # The only figure that looks at the test labels sorts last and says so.
    assert sorted(run.data.metrics) == [
        "auroc", "seed0/loss", "uses_test_labels/best_on_test_accuracy",
    ]  # fmt: skip
    assert run.data.tags["mlflow.user"]


def test_a_worker_logs_to_the_child_run_of_its_method(tmp_path: Path, client: mlflow.MlflowClient):
    start_methods(tmp_path)
    parent = active_parent()
    assert parent is not None
    with parent_elsewhere(pickle.loads(pickle.dumps(parent))), resumed_parent("lff"):
        method_run("lff").log(metrics={"loss": 1.0})
    assert statuses(client, parent, "it's/lff") == ["RUNNING"]
    end_run(FINISHED)
    [run] = children(client, parent)["it's/lff"]
    assert (run.info.status, run.data.metrics) == ("FINISHED", {"loss": 1.0})


# --- Data, models and the machine -----------------------------------------------------------------

DATA = Dataset("cmnist 2pct", "0" * 64, "drawn", (28, 28, 3), {"train images": 5})


def test_the_data_of_a_run_is_an_input_and_in_its_description(
    tmp_path: Path, client: mlflow.MlflowClient
):
    start_run(destination(tmp_path), tmp_path / "pending", "run", {NOTE: "What it is."})
    for _ in range(2):
        active_run().log_dataset(DATA)
    end_run(FINISHED)
    [run] = runs(client)
    [data] = run.inputs.dataset_inputs
    assert (data.dataset.name, data.dataset.digest) == ("cmnist 2pct", "0" * 36)
    assert json.loads(data.dataset.profile) == {"train images": 5}
    assert run.data.tags[NOTE].startswith("What it is.\n\nData `cmnist 2pct`")


def write_model(folder: Path, checkpoint: Path) -> None:
    folder.mkdir()
    (folder / "checkpoint").hardlink_to(checkpoint)
    Model().save(str(folder / "MLmodel"))


def test_a_model_waits_for_mlflow_and_shares_the_disk_space_of_its_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    checkpoint = tmp_path / "checkpoint"
    checkpoint.write_text("networks")
    start(tmp_path, NOWHERE)
    active_run().log_model(lambda folder: write_model(folder, checkpoint))
    active_run().log_model(lambda folder: pytest.fail("a run has one model"))
    end_run(FINISHED)
    make_store(tmp_path)
    store = Store(destination(tmp_path))
    original = mlflow.MlflowClient.log_outputs

    def fail(self: Any, run_id: str, models: Any) -> None:
        raise ConnectionError("the server died")

    monkeypatch.setattr(mlflow.MlflowClient, "log_outputs", fail)
    with pytest.raises(ConnectionError):
        send_abandoned(store, tmp_path / "pending")
    monkeypatch.setattr(mlflow.MlflowClient, "log_outputs", original)
    assert send_abandoned(store, tmp_path / "pending").runs == 1
    assert not pending(tmp_path)
    client = client_of(tmp_path)
    [run] = runs(client)
    [model] = client.search_logged_models([run.info.experiment_id])
    assert (model.source_run_id, model.status) == (run.info.run_id, "READY")
    assert [each.model_id for each in run.outputs.model_outputs] == [model.model_id]
    kept = tmp_path / "mlruns/models" / model.model_id / "artifacts"
    assert (kept / "checkpoint").samefile(checkpoint)
    assert Model.load(str(kept)).model_id == model.model_id


def test_a_model_that_cannot_be_written_costs_one_warning(
    tmp_path: Path, client: mlflow.MlflowClient, caplog: pytest.LogCaptureFixture
):
    def fail(folder: Path) -> None:
        raise OSError("no space left")

    start(tmp_path)
    active_run().log_model(fail)
    active_run().log(metrics={"loss": 1.0})
    end_run(FINISHED)
    [run] = runs(client)
    assert (run.info.status, run.data.metrics) == ("FINISHED", {"loss": 1.0})
    [warning] = warnings(caplog)
    assert "no space left" in warning and "kedro log-model" in warning


@pytest.mark.parametrize("status", [FINISHED, FAILED])
def test_a_run_that_ends_before_its_first_metric_is_complete(
    tmp_path: Path, client: mlflow.MlflowClient, monkeypatch: pytest.MonkeyPatch, status: str
):
    monkeypatch.delenv("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING")
    monkeypatch.setenv("MLFLOW_RUN_CONTEXT", '{"job": 7, "method": "of the job"}')
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "alice")
    start(tmp_path)
    active_run().log(params={"recipe": {"lr": 0.1}})
    busy_until = time.monotonic() + 0.5
    while time.monotonic() < busy_until:
        pass
    end_run(status)
    [run] = runs(client)
    assert (run.info.status, run.data.params) == (status, {"recipe.lr": "0.1"})
    expected = {"job": "7", "method": "disent", "mlflow.user": "alice"}
    assert expected.items() <= run.data.tags.items()
    assert run.data.tags["mlflow.source.type"] == "LOCAL"
    used = {name.removeprefix("system/"): value for name, value in run.data.metrics.items()}
    assert used["cpu_utilization_percentage"] > 0
    assert used.keys() >= {
        "cpu_utilization_percentage",
        "system_memory_usage_megabytes", "system_memory_usage_percentage",
        "disk_usage_percentage", "disk_usage_megabytes", "disk_available_megabytes",
        "network_receive_megabytes", "network_transmit_megabytes",
    }  # fmt: skip


def test_a_gpu_has_metrics_for_what_it_shows(
    tmp_path: Path, client: mlflow.MlflowClient, monkeypatch: pytest.MonkeyPatch
):
    class NVMLError(Exception):
        pass

    def fail(gpu: int) -> int:
        raise NVMLError("not supported")

    nvml = SimpleNamespace(
        NVMLError=NVMLError,
        nvmlInit=lambda: None,
        nvmlDeviceGetCount=lambda: 2,
        nvmlDeviceGetHandleByIndex=lambda number: number,
        nvmlDeviceGetMemoryInfo=lambda gpu: SimpleNamespace(used=2e9, total=8e9),
        nvmlDeviceGetUtilizationRates=lambda gpu: SimpleNamespace(gpu=40 + gpu),
        nvmlDeviceGetPowerUsage=fail,
        nvmlDeviceGetEnforcedPowerLimit=fail,
    )
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    monkeypatch.delenv("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING")
    start(tmp_path)
    end_run(FINISHED)
    [run] = runs(client)
    assert {name: value for name, value in run.data.metrics.items() if "/gpu_" in name} == {
        f"system/gpu_{gpu}_{name}": value
        for gpu in (0, 1)
        for name, value in {
            "memory_usage_percentage": 25.0,
            "memory_usage_megabytes": 2000.0,
            "utilization_percentage": 40.0 + gpu,
        }.items()
    }


def test_tags_of_a_run_that_another_process_sends_are_those_of_its_own_process(
    tmp_path: Path, client: mlflow.MlflowClient, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sys, "argv", ["train"])
    start(tmp_path, NOWHERE)
    end_run(FINISHED)
    monkeypatch.setattr(sys, "argv", ["sync"])
    monkeypatch.setenv("MLFLOW_RUN_CONTEXT", '{"job": "of the other process"}')
    assert send_abandoned(Store(destination(tmp_path)), tmp_path / "pending").runs == 1
    [run] = runs(client)
    assert (run.data.tags["mlflow.source.name"], "job" in run.data.tags) == ("train", False)
    assert run.data.tags["mlflow.user"]


# --- MLflow fails ---------------------------------------------------------------------------------


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING]


def log_history(method: str, rows: list[dict[str, float]]) -> None:
    StepMetrics(method).on_resume(0, rows)


def log_something(folder: Path) -> None:
    log_history("disent", [{"step": step, "seed": 0, "loss": step / 10} for step in (10, 20)])
    active_run().log(params={"steps": 20, "recipe": {"lr": 0.1}})
    report = folder / "report.html"
    report.write_text("<p>all is well")
    active_run().log_artifact(report, "disent")
    report.unlink()


def check_all_is_sent(folder: Path, client: mlflow.MlflowClient, status: str) -> None:
    [run] = runs(client)
    assert run.info.status == status
    assert run.data.params == {"steps": "20", "recipe.lr": "0.1"}
    assert run.data.tags["method"] == "disent"
    curve = client.get_metric_history(run.info.run_id, "seed0/loss")
    assert [(each.step, each.value) for each in curve] == [(10, 1.0), (20, 2.0)]
    copied = folder / "mlruns" / run.info.run_id / "artifacts/disent/report.html"
    assert copied.read_text() == "<p>all is well"
    assert not pending(folder)


def test_values_are_kept_while_mlflow_fails_and_sent_at_the_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    (tmp_path / "mlflow.db").mkdir()  # a store that cannot be opened
    start(tmp_path)
    log_something(tmp_path)
    active_run().wait()
    (tmp_path / "mlflow.db").rmdir()
    make_store(tmp_path)
    end_run(FINISHED)
    check_all_is_sent(tmp_path, client_of(tmp_path), "FINISHED")
    [warning] = warnings(caplog)
    assert "conf/base/mlflow.yml" in warning
    assert f"{tmp_path}/mlflow.db" in warning
    assert "kedro mlflow-sync" in warning


@pytest.mark.slow
@pytest.mark.parametrize("uri", [NOWHERE, "htp://127.0.0.1", "sqlite:////proc/none/mlflow.db"])
def test_values_are_kept_and_sent_later_to_another_store(
    tmp_path: Path, client: mlflow.MlflowClient, caplog: pytest.LogCaptureFixture, uri: str
):
    start(tmp_path, uri)
    log_something(tmp_path)
    end_run(FINISHED)
    assert len(pending(tmp_path)) == 1
    [warning] = warnings(caplog)
    assert uri in warning
    assert send_abandoned(Store(destination(tmp_path)), tmp_path / "pending").runs == 1
    check_all_is_sent(tmp_path, client, "FINISHED")
    assert send_abandoned(Store(destination(tmp_path)), tmp_path / "pending").runs == 0


def test_the_next_run_sends_what_an_earlier_one_could_not(
    tmp_path: Path, client: mlflow.MlflowClient
):
    start(tmp_path, NOWHERE, "first")
    end_run(FINISHED)
    start(tmp_path, name="second")
    end_run(FINISHED)
    assert [run.info.run_name for run in runs(client)] == ["first", "second"]
    assert not pending(tmp_path)


@pytest.mark.slow
def test_what_was_sent_before_a_failure_is_not_sent_twice(
    tmp_path: Path, client: mlflow.MlflowClient, monkeypatch: pytest.MonkeyPatch
):
    start(tmp_path)
    log_something(tmp_path)
    active_run().wait()
    sent: list[Any] = []
    original = mlflow.MlflowClient.log_batch

    def log_batch(self: Any, run_id: str, metrics: Any, **others: Any) -> None:
        sent.extend(each.step for each in metrics)
        original(self, run_id, metrics, **others)
        raise ConnectionError("the answer got lost")

    monkeypatch.setattr(mlflow.MlflowClient, "log_batch", log_batch)
    log_history("disent", [{"step": 30, "seed": 0, "loss": 3.0}])
    active_run().wait()
    monkeypatch.setattr(mlflow.MlflowClient, "log_batch", original)
    run_id = active_run().run_id
    end_run(FINISHED)
    assert sent == [30]
    curve = client.get_metric_history(run_id, "seed0/loss")
    assert [each.step for each in curve] == [10, 20, 30]


def test_a_run_whose_creation_got_no_answer_is_not_created_twice(
    tmp_path: Path, client: mlflow.MlflowClient, monkeypatch: pytest.MonkeyPatch
):
    original = mlflow.MlflowClient.create_run

    def create_run(self: Any, *arguments: Any) -> None:
        original(self, *arguments)
        raise ConnectionError("the answer got lost")

    monkeypatch.setattr(mlflow.MlflowClient, "create_run", create_run)
    start(tmp_path)
    active_run().wait()
    monkeypatch.setattr(mlflow.MlflowClient, "create_run", original)
    end_run(FINISHED)
    assert [run.info.status for run in runs(client)] == ["FINISHED"]


def test_a_value_that_mlflow_rejects_stops_nothing_else(
    tmp_path: Path, client: mlflow.MlflowClient, caplog: pytest.LogCaptureFixture
):
    start(tmp_path)
    active_run().log(metrics={"accuracy": 0.5, "n" * 300: 1.0})
    active_run().log(metrics={"loss": 0.5})
    end_run(FINISHED)
    [run] = runs(client)
    assert run.info.status == "FINISHED"
    assert run.data.metrics == {"loss": 0.5}
    [warning] = warnings(caplog)
    assert "Metric name" in warning


def test_a_tag_that_is_too_long_for_mlflow_is_cut(tmp_path: Path, client: mlflow.MlflowClient):
    start_run(destination(tmp_path), tmp_path / "pending", "grid", {"note": "x" * 10_000})
    end_run(FINISHED)
    [run] = runs(client)
    assert set(run.data.tags["note"]) == {"x"}
    assert run.info.status == "FINISHED"


def test_a_folder_that_cannot_be_written_is_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    (tmp_path / "pending").write_text("a file")
    start(tmp_path)
    log_something(tmp_path)
    with trial_run("trial"):
        pass
    end_run(FINISHED)
    assert len(warnings(caplog)) == 1


def test_mlflow_that_cannot_be_imported_costs_one_warning_and_no_values(
    tmp_path: Path,
    client: mlflow.MlflowClient,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    # So that Python raises ImportError.
    monkeypatch.setitem(sys.modules, "debias_pipeline.tracking.store", None)
    start(tmp_path)
    log_something(tmp_path)
    end_run(FINISHED)
    assert len(warnings(caplog)) == 1
    assert send_abandoned(Store(destination(tmp_path)), tmp_path / "pending").runs == 1
    check_all_is_sent(tmp_path, client, "FINISHED")


@pytest.fixture
def hanging_server() -> Iterator[str]:
    """One that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.slow
def test_a_server_that_hangs_costs_seconds_and_no_values(
    tmp_path: Path, hanging_server: str, caplog: pytest.LogCaptureFixture
):
    started = time.monotonic()
    start(tmp_path, hanging_server)
    for step in range(100):
        log_history("vanilla", [{"step": step, "seed": 1, "loss": 1.0}])
    log_something(tmp_path)
    assert time.monotonic() - started < 2
    end_run(FINISHED)
    assert time.monotonic() - started < 10
    assert len(warnings(caplog)) == 1
    make_store(tmp_path)
    assert send_abandoned(Store(destination(tmp_path)), tmp_path / "pending").runs == 1
    check_all_is_sent(tmp_path, client_of(tmp_path), "FINISHED")


# --- Interrupted runs -----------------------------------------------------------------------------


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit(143)])
def test_an_interrupted_run_is_killed(
    tmp_path: Path, client: mlflow.MlflowClient, interruption: Any
):
    start(tmp_path)
    with pytest.raises((KeyboardInterrupt, SystemExit)), killed_when_interrupted(), trial_run("t"):
        raise interruption
    assert [run.info.status for run in runs(client)] == ["KILLED", "KILLED"]
    assert active_run().run_id is None


KILLED_RUN = """
import os, signal, sys
from pathlib import Path
from debias_pipeline.tracking import *

folder = Path(sys.argv[1])
uri = f"sqlite:///{folder}/mlflow.db"
start_run(Destination(uri, "", "grid", (folder / "mlruns").as_uri()), folder / "pending", "first")
with trial_run("trial"):
    active_run().log(metrics={"loss": 1.0})
    active_run().wait()
    print(active_parent().run_id, flush=True)
    if sys.argv[2] == "exit":
        sys.exit(1)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def run_and_kill(folder: Path, how: str) -> str:
    process = ForkedProcess(
        *(execute, KILLED_RUN, str(folder), how), output=folder / "log", errors=folder / "errors"
    )
    process.wait(60)
    return process.output.read_text().split()[-1]


@pytest.mark.slow
def test_a_process_that_exits_ends_its_run_as_killed(tmp_path: Path, client: mlflow.MlflowClient):
    run_and_kill(tmp_path, "exit")
    assert [run.info.status for run in runs(client)] == ["KILLED", "KILLED"]
    assert not pending(tmp_path)


EXITING_RUN = """
import sys
from pathlib import Path
from debias_pipeline.tracking import *

folder = Path(sys.argv[1])
uri = f"sqlite:///{folder}/mlflow.db"
start_run(Destination(uri, "", "grid", (folder / "mlruns").as_uri()), folder / "pending", "first")
active_run().log(params={"lr": 0.1})
"""


@pytest.mark.slow
def test_a_process_that_exits_before_its_first_metric_loses_nothing(
    tmp_path: Path, client: mlflow.MlflowClient
):
    done = subprocess.run(
        [sys.executable, "-c", EXITING_RUN, str(tmp_path)], capture_output=True, text=True
    )
    [run] = runs(client)
    assert (run.info.status, run.data.params) == ("KILLED", {"lr": "0.1"}), done.stderr
    assert not pending(tmp_path)


@pytest.mark.slow
def test_the_next_run_closes_one_that_was_killed(tmp_path: Path, client: mlflow.MlflowClient):
    run_and_kill(tmp_path, "kill")
    assert [run.info.status for run in runs(client)] == ["RUNNING", "RUNNING"]
    start(tmp_path, name="second")
    end_run(FINISHED)
    assert [run.info.status for run in runs(client)] == ["KILLED", "KILLED", "FINISHED"]
    assert not pending(tmp_path)


@pytest.mark.slow
def test_a_run_that_is_killed_while_mlflow_creates_its_database_breaks_no_later_run(tmp_path: Path):
    process = ForkedProcess(execute, KILLED_RUN, str(tmp_path), "kill")
    while process.poll() is None and not any(each.stat().st_size for each in databases(tmp_path)):
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "mlflow.db").exists(), "killed too late"
    start(tmp_path, name="second")
    end_run(FINISHED)
    assert [run.info.run_name for run in runs(client_of(tmp_path))][-1] == "second"
    assert not pending(tmp_path)


def databases(folder: Path) -> list[Path]:
    return list(folder.glob("*mlflow.db*"))


def test_an_end_that_does_not_wait_for_mlflow_says_so_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    goes_on, send = threading.Event(), Store.send

    def send_later(*arguments: Any) -> Any:
        goes_on.wait(60)
        return send(*arguments)

    monkeypatch.setattr("debias_pipeline.tracking.sender._PATIENCE", 0.1)
    monkeypatch.setattr(Store, "send", send_later)
    start(tmp_path)
    end_run(FINISHED)
    (line,) = warnings(caplog)
    assert "has not finished" in line and "mlflow-sync" in line
    (thread,) = [each for each in threading.enumerate() if each.name == "mlflow"]
    goes_on.set()
    thread.join(60)
    # The thread does not take its own run for that of a process that has died.
    assert warnings(caplog) == [line]
    assert [run.info.status for run in runs(client_of(tmp_path))] == ["FINISHED"]
    assert not pending(tmp_path)


def test_a_run_that_goes_on_is_left_alone(parent: ParentRun, client: mlflow.MlflowClient):
    folder = Path(parent.root).parent
    assert send_abandoned(Store(destination(folder)), folder / "pending", any_host=True).runs == 0
    assert client.get_run(parent.run_id).info.status == "RUNNING"


def test_the_whole_history_of_a_resumed_training_is_logged_at_once(
    tmp_path: Path, client: mlflow.MlflowClient
):
    start(tmp_path)
    rows = [{"step": s, "seed": k, "loss": float(s + k)} for s in (500, 1000) for k in (0, 1)]
    log_history("disent", rows)
    active_run().wait()
    run_id = active_run().run_id
    end_run(FINISHED)
    for seed in (0, 1):
        curve = client.get_metric_history(run_id, f"seed{seed}/loss")
        assert [(each.step, each.value) for each in curve] == [
            (500, 500.0 + seed),
            (1000, 1000.0 + seed),
        ]


# --- A moved project ------------------------------------------------------------------------------


def test_artifacts_of_a_moved_project_stay_in_it(tmp_path: Path):
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    make_store(old)
    start(old, name="first")
    log_something(old)
    end_run(FINISHED)
    old.rename(new)
    start(new, name="second")
    log_something(new)
    end_run(FINISHED)
    client = client_of(new)
    assert not old.exists()
    for run in runs(client):
        assert run.info.artifact_uri.startswith((new / "mlruns").as_uri())
        assert [each.path for each in client.list_artifacts(run.info.run_id)] == ["disent"]


def test_artifacts_that_were_placed_elsewhere_stay_there(
    tmp_path: Path, client: mlflow.MlflowClient
):
    client.create_experiment("grid", (tmp_path / "big disk/artifacts").as_uri())
    start(tmp_path)
    log_something(tmp_path)
    end_run(FINISHED)
    assert list((tmp_path / "big disk/artifacts").rglob("report.html"))
