"""Measure time and memory of whole commands, and which packages their start-up imports."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.cases import PROJECT
from benchmarks.rows import Row, Spread

# Runs `kedro` with the arguments, and ends the process after the first training step.
FIRST_STEP = """
import os, sys
from kedro.framework.cli import main
from debias_pipeline.training import stage

def train_one_step(self, *arguments, train_step=stage.RunningStage.train_step):
    train_step(self, *arguments)
    os._exit(0)

stage.RunningStage.train_step = train_one_step
sys.argv[0] = "kedro"
main()
"""
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
HELP, ERROR, FIRST, AGAIN = "kedro run --help", "parameter error", "first step", "10 steps, again"
TINY = "recipe.steps=10,recipe.eval_every=10,recipe.swap_start=5"
# The smallest share of a command's time for which a package has a row of its own.
LEAST_SHARE = 0.01
IMPORT = re.compile(r"^import time: +(\d+) \| +\d+ \| +(\w+)", re.MULTILINE)


@dataclass(frozen=True)
class Cost:
    """What a command took.

    Attributes:
        seconds: from start to end.
        cpu_seconds: of processor time, all threads and child processes together.
        peak_gb: highest resident memory of one of its processes.
        output: what it printed.
    """

    seconds: float
    cpu_seconds: float
    peak_gb: float
    output: str


def commands(params: str) -> Mapping[str, tuple[list[str], int]]:
    """Return what is measured, in this order: name → arguments of Python, expected exit code.

    Args:
        params: of the runs, such as `dataset=cmnist`; "" takes the embedded data.
    """
    kedro = str(Path(sys.executable).with_name("kedro"))
    run = ["run", "--pipeline=disent", f"--params={','.join(filter(None, (params, TINY)))}"]
    return {
        HELP: ([kedro, "run", "--help"], 0),
        ERROR: ([kedro, "run", "--params=dataset=none"], 1),
        # Builds the data, and creates MLflow's tables.
        "10 steps, first in a project": ([kedro, *run], 0),
        FIRST: (["-c", FIRST_STEP, *run], 0),
        AGAIN: ([kedro, *run], 0),
    }


def run_rows(rounds: int, params: str) -> Iterator[Row]:
    """Yield time and memory of `commands`, measured in turn in new projects."""
    costs: dict[str, list[Cost]] = {name: [] for name in commands(params)}
    for _ in range(rounds):
        with throwaway_project() as project:
            for name, (command, exit_code) in commands(params).items():
                costs[name].append(cost(project, command, exit_code))
    for name, found in costs.items():
        yield {
            "command": name,
            "seconds": Spread.of([each.seconds for each in found]),
            "CPU seconds": Spread.of([each.cpu_seconds for each in found]),
            "peak memory, GB": Spread.of([each.peak_gb for each in found]),
        }


def package_rows(params: str) -> list[Row]:
    """Return how many seconds the imports of each package take, for each command.

    The modules of a package count with the time in which they themselves are executed, without
    that of what they import. The columns sum to the seconds of the command.
    """
    measured = commands(params)
    costs: dict[str, Cost] = {}
    with throwaway_project() as project:
        # Builds the data, and compiles the modules that are imported.
        cost(project, *measured[FIRST])
        for name in (HELP, ERROR, FIRST):
            arguments, exit_code = measured[name]
            costs[name] = cost(project, ["-X", "importtime", *arguments], exit_code)
    seconds = {name: seconds_by_package(each.output) for name, each in costs.items()}
    shown = [
        package
        for package, _ in sum(seconds.values(), Counter()).most_common()
        if any(seconds[name][package] > LEAST_SHARE * costs[name].seconds for name in costs)
    ]
    imports = {name: sum(each.values()) for name, each in seconds.items()}
    named = {name: sum(each[package] for package in shown) for name, each in seconds.items()}
    rows = {package: {name: seconds[name][package] for name in costs} for package in shown}
    rows["other packages"] = {name: imports[name] - named[name] for name in costs}
    rows["no imports"] = {name: each.seconds - imports[name] for name, each in costs.items()}
    rows["total"] = {name: each.seconds for name, each in costs.items()}
    rows["total, CPU seconds"] = {name: each.cpu_seconds for name, each in costs.items()}
    return [{"package": package, **row} for package, row in rows.items()]


def seconds_by_package(output: str) -> Counter[str]:
    """Return seconds by package, from the output of `python -X importtime`."""
    found: Counter[str] = Counter()
    for microseconds, package in IMPORT.findall(output):
        found[package] += int(microseconds) / 1e6
    return found


def cost(project: Path, arguments: Sequence[str], exit_code: int = 0) -> Cost:
    """Run Python with arguments in a project.

    Raises:
        RuntimeError: if it ends with another exit code; the message has the end of its output.
    """
    done = subprocess.run(
        [sys.executable, "-c", LAUNCHER, sys.executable, *arguments],
        cwd=project,
        env={**os.environ, "DO_NOT_TRACK": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    *values, code = json.loads(done.stdout)
    if code != exit_code:
        raise RuntimeError(
            f"python {arguments} ended with {code}, not {exit_code}:\n{done.stderr[-2000:]}"
        )
    return Cost(*values, done.stderr)


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
