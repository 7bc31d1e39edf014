"""The same numbers, bit for bit, whatever runs the grid (see also test_interruptions)."""

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import dask
import pytest
from distributed import Client, LocalCluster
from throwaway_project import Outcome, Project, make_project

from forked import fork_workers_of_dask

METHODS = ("vanilla", "disent")
PERCENTS = ("2pct",)
TRIALS = {f"cmnist_mini_{percent}.{method}" for percent in PERCENTS for method in METHODS}
# Sums in another order are another result: the threads of a trial are fixed.
GRID = {
    "device": "cpu",
    "benchmark.methods": "+".join(METHODS),
    "benchmark.percents": "+".join(PERCENTS),
    "benchmark.seeds": 2,
    "benchmark.threads": 1,
    "benchmark.overrides.batch_size": 32,
    "benchmark.overrides.steps": 40,
    "benchmark.overrides.eval_every": 20,
    "benchmark.overrides.swap_start": 15,
}
DASK = "--runner=debias_pipeline.runners.DaskRunner"
ADDRESS = "DASK_SCHEDULER_ADDRESS"


def run_grid(project: Project, *arguments: str) -> Outcome:
    # All but the leaderboard.
    outcomes = ",".join(sorted(f"{trial}.outcome" for trial in TRIALS))
    outcome = project.run("--pipeline=benchmark", f"--to-outputs={outcomes}", *arguments, **GRID)
    assert outcome.exit_code == 0, outcome.stdout + outcome.stderr
    return outcome


def results(project: Project) -> dict[str, bytes]:
    """Metrics and networks of every trial, by the name of the trial and of the file."""
    found = {}
    for kind in ("metrics.json", "checkpoint.safetensors"):
        for path in project.files(f"*/cmnist_mini/*/benchmark-*/*/{kind}/*/{kind}"):
            *_, percent, _, method, _, _, _ = path.parts
            found[f"cmnist_mini_{percent}.{method} {kind}"] = path.read_bytes()
    return found


def children(project: Project) -> dict[str, list[str]]:
    """How the MLflow runs of each trial ended, the earliest first; all are the grid's children."""
    *trials, grid = project.mlflow_runs()
    statuses: dict[str, list[str]] = {}
    for run in reversed(trials):
        assert run.data.tags["mlflow.parentRunId"] == grid.info.run_id
        statuses.setdefault(run.data.tags["cell"], []).append(run.info.status)
    assert grid.info.status == "FINISHED"
    return statuses


class Killer(threading.Thread):
    """Kills the process of the first worker that is in the middle of a trial."""

    def __init__(self, client: Client, project: Project) -> None:
        super().__init__(daemon=True)
        self._client, self._project = client, project
        self.killed: str | None = None

    def run(self) -> None:
        pids = self._client.run(os.getpid)
        while self.killed is None:
            time.sleep(0.1)
            for worker, keys in self._client.processing().items():
                for trial in TRIALS & {key.split("-")[1] for key in keys}:
                    if self._trains(trial):
                        os.kill(pids[worker], signal.SIGKILL)
                        self.killed = trial
                        return

    def _trains(self, trial: str) -> bool:
        """Whether its MLflow run has begun and not ended."""
        runs = self._project.mlflow_runs()
        return trial in {run.data.tags.get("cell") for run in runs if run.info.status == "RUNNING"}


def test_two_dask_workers_of_which_one_is_killed(
    empty_project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    sequential = make_project(tmp_path / "sequential")
    run_grid(sequential)
    assert len(results(sequential)) == 2 * len(TRIALS)
    options: dict[str, Any] = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": ":0"}
    with (
        dask.config.set(fork_workers_of_dask()),
        LocalCluster(**options) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        killer = Killer(client, empty_project)
        killer.start()
        monkeypatch.setenv(ADDRESS, cluster.scheduler_address)
        run_grid(empty_project, DASK)
    assert killer.killed in TRIALS
    assert results(empty_project) == results(sequential)
    ended = {trial: ["FINISHED"] for trial in TRIALS}
    assert children(empty_project) == {**ended, killer.killed: ["KILLED", "FINISHED"]}
