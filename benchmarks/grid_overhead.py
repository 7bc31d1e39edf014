"""What a cell of the grid costs beyond its training.

    python -m benchmarks.grid_overhead

Runs a grid of tiny cells (three methods, ten steps each, one seed, the embedded digits) on Dask
workers of this machine and, with fewer cells, one after the other. The data sets are built before
and do not count.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow

from benchmarks.kedro_runs import cmnist_project

METHODS = ("vanilla", "lff", "disent")
STEPS = 10
# The digits are embedded; a project wants files of MNIST all the same.
FEW_IMAGES = {"train": 100, "t10k": 10}
DASK = "--runner=debias_pipeline.runners.DaskRunner"


@dataclass(frozen=True)
class Overhead:
    """Seconds of one worker per cell, and of the whole.

    Attributes:
        cells: how many there were.
        workers: how many worked at them.
        total: of the command, from its start to its end.
        span: from the start of the first cell to the end of the last.
        training: of a cell, the evaluation at its last step included.
        judging: predictions, figures and MLflow, of a cell.
        around: loading, saving and handing out, of a cell.
    """

    cells: int
    workers: int
    total: float
    span: float
    training: float
    judging: float
    around: float

    @property
    def beyond_training(self) -> float:
        """Seconds of a worker per cell that are not training."""
        return self.judging + self.around


def grid(cells: int) -> str:
    """The `--params` of a grid with so many cells."""
    percents = [f"{0.5 * (1 + each):g}pct" for each in range(cells // len(METHODS))]
    settings = {
        "device": "cpu",
        "benchmark.datasets": "cmnist_mini",
        "benchmark.percents": "+".join(percents),
        "benchmark.methods": "+".join(METHODS),
        "benchmark.seeds": 1,
        "benchmark.threads": 1,
        "benchmark.overrides.steps": STEPS,
        "benchmark.overrides.eval_every": STEPS,
        "benchmark.overrides.swap_start": STEPS // 2,
    }
    return ",".join(f"{key}={value}" for key, value in settings.items())


def run_grid(project: Path, cells: int, *arguments: str) -> float:
    """Seconds of a `kedro run` of the grid.

    Raises:
        RuntimeError: if it fails; the message is the end of what it printed.
    """
    started = time.perf_counter()
    done = subprocess.run(
        [Path(sys.executable).with_name("kedro"), "run", "--pipeline=benchmark",
         f"--params={grid(cells)}", *arguments],
        cwd=project,
        env={**os.environ, "DO_NOT_TRACK": "1"},
        capture_output=True,
        text=True,
    )  # fmt: skip
    if done.returncode != 0:
        raise RuntimeError(f"kedro run failed:\n{(done.stdout + done.stderr)[-2000:]}")
    return time.perf_counter() - started


def measure(cells: int, workers: int | None) -> Overhead:
    """Run a grid in a project of its own.

    Args:
        cells: how many.
        workers: of Dask; None runs one cell after the other.
    """
    engine = [DASK, f"--runner-params=workers={workers}"] if workers else []
    with cmnist_project(FEW_IMAGES) as project:
        run_grid(project, cells, "--tags=data")
        total = run_grid(project, cells, "--tags=trial", *engine)
        outcomes = _contents(project, "outcome")
        records = _contents(project, "training_record")
        span = _span_of_cells(project)
    if not len(outcomes) == len(records) == cells:
        raise RuntimeError(f"{cells} cells were to be run, {len(records)} were")
    seconds = statistics.mean(each["seconds"] for each in outcomes)
    training = statistics.mean(each["seconds"] for each in records)
    return Overhead(
        cells=cells,
        workers=workers or 1,
        total=total,
        span=span,
        training=training,
        judging=seconds - training,
        around=span * (workers or 1) / cells - seconds,
    )


def _contents(project: Path, name: str) -> list[dict[str, Any]]:
    # A versioned one lies in a folder of its own name.
    found = (project / "data").rglob(f"benchmark-*/*/**/{name}.json")
    return [json.loads(path.read_text()) for path in found if path.is_file()]


def _span_of_cells(project: Path) -> float:
    """Seconds from the start of the first cell's MLflow run to the end of the last one's."""
    client = mlflow.MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
    experiments = [each.experiment_id for each in client.search_experiments()]
    runs = client.search_runs(experiments, "tags.cell != ''", max_results=50_000)
    started = min(run.info.start_time for run in runs)
    return (max(run.info.end_time for run in runs) - started) / 1000


def print_overhead(measured: Overhead) -> None:
    """Print what a cell costs."""
    engine = f"{measured.workers} Dask workers" if measured.workers > 1 else "one after the other"
    print(f"{measured.cells} cells of {STEPS} steps, {engine}: {measured.total:.0f} s in all")
    print(f"  {measured.total - measured.span:7.1f} s before the first cell and after the last")
    print(f"  {measured.beyond_training:7.3f} s a cell beyond training, of a worker's time")
    print(f"  {measured.judging:7.3f} s of it to predict, judge and log")
    print(f"  {measured.around:7.3f} s of it to load, save and hand out")
    print(f"  {measured.training:7.3f} s a cell to train")


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=300, help="on Dask workers")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--sequential-cells", type=int, default=60, help="one after the other")
    options = parser.parse_args(arguments)
    for cells, workers in ((options.cells, options.workers), (options.sequential_cells, None)):
        if cells:
            print_overhead(measure(cells, workers))


if __name__ == "__main__":
    main()
