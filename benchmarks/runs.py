"""Measure start-up time and memory of whole commands, and what the grid costs per trial."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from omegaconf import OmegaConf

from benchmarks.cases import PROJECT
from benchmarks.rows import Row, Spread

KEDRO = str(Path(sys.executable).with_name("kedro"))
IMPORT = "import kedro.framework.cli, debias_pipeline.settings, debias_pipeline.cli"
STEPS = "steps=10", "eval_every=10", "swap_start=5"
TINY = ["--params", ",".join(f"recipe.{each}" for each in STEPS)]
# Name, command, expected exit code. The first run in a project also creates MLflow's tables.
COMMANDS = (
    ("import of the project", [sys.executable, "-c", IMPORT], 0),
    ("one-line error: unknown data set", [KEDRO, "run", "--params=dataset=none"], 1),
    ("kedro run, 10 steps, first in a project", [KEDRO, "run", *TINY], 0),
    ("kedro run, 10 steps, again", [KEDRO, "run", *TINY], 0),
)
ENGINES = {
    "one after the other": [],
    "two Dask workers": [
        "--runner=debias_pipeline.runners.DaskRunner", "--runner-params=workers=2",
    ],
}  # fmt: skip
# Runs a command and prints its seconds and peak memory. A process of its own, as small as can be:
# the peak memory of a child is at least that of the process that starts it.
LAUNCHER = """
import json, resource, subprocess, sys, time
started = time.perf_counter()
code = subprocess.run(sys.argv[1:], stdout=sys.stderr).returncode
seconds = time.perf_counter() - started
used = resource.getrusage(resource.RUSAGE_CHILDREN)
peak = used.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e9
print(json.dumps([seconds, used.ru_utime + used.ru_stime, peak, code]))
"""


@dataclass(frozen=True)
class Cost:
    """What a command took.

    Attributes:
        seconds: from start to end.
        cpu_seconds: of processor time, all threads and child processes together.
        peak_gb: highest resident memory of one of its processes.
    """

    seconds: float
    cpu_seconds: float
    peak_gb: float


def run_rows(rounds: int) -> Iterator[Row]:
    """Yield time and memory of `COMMANDS`, measured in turn in new projects."""
    costs: dict[str, list[Cost]] = {name: [] for name, *_ in COMMANDS}
    for _ in range(rounds):
        with throwaway_project() as project:
            for name, command, exit_code in COMMANDS:
                costs[name].append(cost(project, command, exit_code))
    for name, found in costs.items():
        yield {
            "command": name,
            "seconds": Spread.of([each.seconds for each in found]),
            "CPU seconds": Spread.of([each.cpu_seconds for each in found]),
            "peak memory, GB": Spread.of([each.peak_gb for each in found]),
            "rounds": rounds,
        }


def grid_rows(settings: int, engines: Sequence[str] = tuple(ENGINES)) -> Iterator[Row]:
    """Yield what a trial costs beyond its training, in a grid of tiny trials with one seed.

    It is the difference of two runs: one makes the trials of one setting, one those of all others.

    Args:
        settings: number of percents of the embedded digits, three or more; each has a trial per
            method of conf/base.
        engines: keys of `ENGINES`.
    """
    percents = [f"{1 + each}pct" for each in range(settings)]
    of_setting = len(grid_methods())
    more = (settings - 2) * of_setting
    with throwaway_project() as project:
        cost(project, grid_command(percents, "--tags=data"))
        for number, engine in enumerate(engines):
            arguments = ["--only-missing-outputs", *ENGINES[engine]]
            # Each engine has trials of its own, with another seed.
            few, many = (
                cost(project, grid_command(each, *arguments, seed=number)).seconds
                for each in (percents[:1], percents)
            )
            records = (project / "data").rglob("training_record.json")
            newest = sorted((each for each in records if each.is_file()), key=os.path.getmtime)
            training = [json.loads(each.read_text())["seconds"] for each in newest[-more:]]
            workers = 2 if ENGINES[engine] else 1
            yield {
                "engine": engine,
                "trials": (settings - 1) * of_setting,
                "seconds in all": many,
                "worker seconds per trial": workers * (many - few) / more,
                "of it training": sum(training) / more,
            }


def layout_rows(settings: Sequence[int]) -> Iterator[Row]:
    """Yield what one trial takes in grids of several sizes: each run lays out its whole grid."""
    with throwaway_project() as project:
        cost(project, grid_command(["2pct"], "--tags=data"))
        for number, count in enumerate(settings):
            percents = ["2pct", *(f"{each / 1000:g}pct" for each in range(1, count))]
            one = f"--namespaces=cmnist_mini_2pct.{grid_methods()[0]}"
            found = cost(project, grid_command(percents, one, seed=number))
            yield {
                "trials in the grid": count * len(grid_methods()),
                "CPU seconds of a run of one trial": found.cpu_seconds,
                "peak memory, GB": found.peak_gb,
            }


def grid_methods() -> list[str]:
    """Return the methods of the grid of conf/base."""
    return list(OmegaConf.load(PROJECT / "conf/base/parameters_benchmark.yml").benchmark.methods)


def grid_command(percents: Sequence[str], *arguments: str, seed: int = 0) -> list[str]:
    """Return the command that runs a grid of tiny trials on the embedded digits."""
    settings = [
        "device=cpu", "benchmark.datasets=cmnist_mini", f"benchmark.percents={'+'.join(percents)}",
        f"benchmark.seed={seed}", "benchmark.seeds=1", "benchmark.threads=1",
        *(f"benchmark.overrides.{each}" for each in STEPS),
    ]  # fmt: skip
    return [KEDRO, "run", "--pipeline=benchmark", "--params", ",".join(settings), *arguments]


def cost(project: Path, command: Sequence[str], exit_code: int = 0) -> Cost:
    """Run a command in a project.

    Raises:
        RuntimeError: if it ends with another exit code; the message has the end of its output.
    """
    done = subprocess.run(
        [sys.executable, "-c", LAUNCHER, *command],
        cwd=project,
        env={**os.environ, "DO_NOT_TRACK": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    *values, code = json.loads(done.stdout)
    if code != exit_code:
        raise RuntimeError(f"{command} ended with {code}, not {exit_code}:\n{done.stderr[-2000:]}")
    return Cost(*values)


@contextmanager
def throwaway_project() -> Iterator[Path]:
    """Yield a folder with a copy of this project's configuration."""
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        shutil.copytree(PROJECT / "conf", project / "conf")
        for name in ("pyproject.toml", ".telemetry"):
            shutil.copy(PROJECT / name, project)
        # Kedro needs the folder; the package itself is installed.
        (project / "src").mkdir()
        yield project
