"""The MLflow runs of a grid's cells."""

import subprocess
import sys
from pathlib import Path

import mlflow
import pytest
from mlflow.entities import Run

from debias_pipeline.tracking import (
    ParentRun,
    StepMetrics,
    active_parent,
    cell_run,
    parent_elsewhere,
    resumed_parent,
)

PARENT = "mlflow.parentRunId"


@pytest.fixture
def parent(tmp_path: Path):
    """A grid's run in a store of its own, active while a test runs."""
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    experiment = mlflow.create_experiment("grid", artifact_location=(tmp_path / "files").as_uri())
    try:
        with mlflow.start_run(experiment_id=experiment):
            yield active_parent()
    finally:
        while mlflow.active_run():
            mlflow.end_run()
        mlflow.set_tracking_uri(before)


def children(parent: ParentRun) -> dict[str, list[Run]]:
    found: dict[str, list[Run]] = {}
    wanted = f"tags.`{PARENT}` = '{parent.run_id}'"
    runs = mlflow.MlflowClient().search_runs([parent.experiment_id], wanted)
    for run in sorted(runs, key=lambda each: each.info.start_time):
        found.setdefault(run.info.run_name, []).append(run)
    return found


def test_a_cell_is_a_child_with_recipe_curve_and_figures(parent: ParentRun):
    with cell_run("cmnist_1pct.vanilla", {"method": "vanilla"}) as cell:
        StepMetrics("vanilla").on_evaluation(
            20, [{"step": 20, "seed": 3, "loss": 0.5, "valid_accuracy": float("nan")}]
        )
        cell.log(
            params={"recipe": {"lr": 0.01, "network": "mlp"}},
            metrics={"last": {"accuracy": {"mean": 0.75, "std": None}}, "seconds": 2},
        )
        assert (cell.run_id, cell.experiment_id) == (
            mlflow.active_run().info.run_id,
            parent.experiment_id,
        )
    assert mlflow.active_run().info.run_id == parent.run_id
    [run] = children(parent)["cmnist_1pct.vanilla"]
    assert run.info.status == "FINISHED"
    assert run.data.tags["method"] == "vanilla"
    assert run.data.params == {"recipe.lr": "0.01", "recipe.network": "mlp"}
    assert run.data.metrics == {
        "vanilla.seed3.loss": 0.5,
        "last.accuracy.mean": 0.75,
        "seconds": 2.0,
    }


@pytest.mark.parametrize(
    ("error", "status"), [(ValueError, "FAILED"), (KeyboardInterrupt, "KILLED")]
)
def test_an_error_ends_the_run_and_passes_through(parent: ParentRun, error, status: str):
    with pytest.raises(error), cell_run("cell"):
        raise error
    assert [run.info.status for run in children(parent)["cell"]] == [status]
    assert mlflow.active_run().info.run_id == parent.run_id


def test_nothing_is_tracked_where_no_run_is_active():
    assert active_parent() is None
    with parent_elsewhere(None), resumed_parent(), cell_run("cell", {"method": "disent"}) as cell:
        cell.log({"lr": 0.1}, {"accuracy": 1.0})
        assert (cell.run_id, cell.experiment_id) == (None, None)
        assert mlflow.active_run() is None


# What a worker does: it has no run of its own, and is told of the parent.
WORKER = """
import os, signal, sys
import mlflow
from debias_pipeline.tracking import ParentRun, StepMetrics, cell_run
from debias_pipeline.tracking import parent_elsewhere, resumed_parent

*parent, worker, task = sys.argv[1:]
with parent_elsewhere(ParentRun(*parent)):
    if task == "log to the parent":
        with resumed_parent():
            mlflow.log_metric("data_seconds", 1.5)
    for cell in range(6):
        with cell_run(f"{worker}{cell}") as run:
            if task == "die":
                os.kill(os.getpid(), signal.SIGKILL)
            for step in range(5):
                StepMetrics("m").on_evaluation(step, [{"seed": 0, "loss": 1.0 * step}])
            run.log({"lr": 0.1}, {"accuracy": 0.5})
    assert mlflow.active_run() is None
"""


def start_worker(parent: ParentRun, name: str, task: str = "") -> "subprocess.Popen[bytes]":
    told = (parent.tracking_uri, parent.experiment_id, parent.run_id, name, task)
    return subprocess.Popen([sys.executable, "-c", WORKER, *told])


def test_two_processes_write_to_one_sqlite_file_at_once(parent: ParentRun):
    workers = [start_worker(parent, "a", "log to the parent"), start_worker(parent, "b")]
    assert [worker.wait(60) for worker in workers] == [0, 0]
    runs = [run for attempts in children(parent).values() for run in attempts]
    assert len(runs) == 12
    assert {run.info.status for run in runs} == {"FINISHED"}
    client = mlflow.MlflowClient()
    assert all(len(client.get_metric_history(r.info.run_id, "m.seed0.loss")) == 5 for r in runs)
    above = client.get_run(parent.run_id)
    assert above.info.status == "RUNNING"
    assert above.data.metrics == {"data_seconds": 1.5}


def test_a_killed_attempt_is_marked_when_the_cell_is_run_again(parent: ParentRun):
    assert start_worker(parent, "a", "die").wait(60) == -9
    assert [run.info.status for run in children(parent)["a0"]] == ["RUNNING"]
    with parent_elsewhere(parent), cell_run("another cell"):
        pass
    assert [run.info.status for run in children(parent)["a0"]] == ["RUNNING"]
    with parent_elsewhere(parent), cell_run("a0"):
        pass
    assert [run.info.status for run in children(parent)["a0"]] == ["KILLED", "FINISHED"]
