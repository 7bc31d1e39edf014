"""What it takes to lay a grid out: all that `kedro run` does before the first cell.

    python -m benchmarks.grid_layout 300 3000

Parameters, catalog and pipelines are made as `kedro run --pipeline=benchmark` makes them, in a
process for each size. Seconds are of the processor, so that other work does not count.
"""

import argparse
import contextlib
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

from kedro.framework.project import pipelines
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project

from benchmarks.grid_overhead import FEW_IMAGES, METHODS
from benchmarks.kedro_runs import cmnist_project


def lay_out(project: Path, cells: int) -> None:
    """Do it, and print what it took.

    Args:
        project: its folder.
        cells: how many.
    """
    percents = [f"{0.001 * (1 + each):g}pct" for each in range(cells // len(METHODS))]
    grid = {"datasets": "cmnist_mini", "percents": percents, "methods": [*METHODS]}
    with contextlib.chdir(project):
        bootstrap_project(project)
        before, started = _memory(), time.process_time()
        with KedroSession.create(project, runtime_params={"benchmark": grid}) as session:
            catalog = session.load_context().catalog
        chosen = pipelines["benchmark"].filter()
        seconds = time.process_time() - started
    print(
        f"{cells} cells: {seconds:.1f} s, {_memory() - before:.0f} MB more for "
        f"{len(chosen.nodes)} nodes and {len(catalog)} datasets",
        flush=True,
    )


def _memory() -> float:
    """The most main memory that this process has held, in megabytes; Linux counts kilobytes."""
    unit = 1e6 if sys.platform == "darwin" else 1e3
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def main(arguments: list[str] | None = None) -> None:
    """Measure each size in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cells", type=int, nargs="*", default=[300, 3000])
    parser.add_argument("--project", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.project is not None:
        lay_out(options.project, *options.cells)
        return
    with cmnist_project(FEW_IMAGES) as project:
        for cells in options.cells:
            subprocess.run(
                [sys.executable, "-W", "ignore", "-m", "benchmarks.grid_layout", str(cells),
                 f"--project={project}"],
                check=True,
                env={**os.environ, "DO_NOT_TRACK": "1"},
            )  # fmt: skip


if __name__ == "__main__":
    main()
