"""Whole `kedro run`s in processes of their own: time to the first training step, peak memory."""

import json
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.timing import Timing

PROJECT = Path(__file__).parents[1]
MNIST_SIZES = {"train": 60_000, "t10k": 10_000}
# Such as "import time:       371 |        371 |   zipimport".
_IMPORT_LINE = re.compile(r"import time: +(\d+) \| +\d+ \| +(\S+)")
SHOWN_PACKAGES = 12


@dataclass(frozen=True)
class KedroRun:
    """What a process of `benchmarks.watched_kedro` says of itself.

    Attributes:
        first_step: seconds from its start until the first update of a network's parameters.
        total: seconds from its start to its end.
        peak_memory: gigabytes.
    """

    first_step: float
    total: float
    peak_memory: float


def measure_startup(rounds: int) -> dict[str, Any]:
    """Seconds to the first training step of `kedro run` on cmnist, and what imports take of it.

    `from_raw` starts with MNIST's files alone; `again` has a store of earlier runs.
    """
    fresh, again = [], []
    for _ in range(rounds):
        with cmnist_project() as project:
            fresh.append(watched_run(project, steps=1).first_step)
            again.append(watched_run(project, steps=1).first_step)
    return {
        "from_raw": asdict(Timing.of(fresh)),
        "again": asdict(Timing.of(again)),
        "imports": import_times(),
    }


def measure_memory(replicas: int, steps: int) -> dict[str, Any]:
    """The peak of a disent run with so many seeds on data of MNIST's size, in gigabytes."""
    with cmnist_project() as project:
        run = watched_run(project, steps=steps, seeds=replicas)
    return {"replicas": replicas, "steps": steps, "peak_gb": run.peak_memory}


@contextmanager
def cmnist_project(sizes: dict[str, int] | None = None) -> Iterator[Path]:
    """A copy of this project's configuration, with files of random pixels in MNIST's format.

    Args:
        sizes: images in MNIST's `train` and `t10k` files; MNIST's own if not said.
    """
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        shutil.copytree(PROJECT / "conf", project / "conf")
        for name in ("pyproject.toml", ".telemetry"):
            shutil.copy(PROJECT / name, project)
        # Kedro wants the folder; the package itself is installed.
        (project / "src").mkdir()
        _write_mnist_like(project / "data/01_raw/MNIST/raw", sizes or MNIST_SIZES)
        yield project


def watched_run(project: Path, **recipe: int) -> KedroRun:
    """`kedro run --pipeline=disent` on cmnist.

    Args:
        project: as `cmnist_project` gives it.
        recipe: `seeds`, and fields of the recipe.

    Raises:
        RuntimeError: if the run fails; the message is the end of what it printed.
    """
    seeds = recipe.pop("seeds", 1)
    fields = "".join(f",recipe.{name}={value}" for name, value in recipe.items())
    parameters = f"dataset=cmnist,seeds={seeds}{fields}"
    report = project / "watched.json"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.watched_kedro", str(report), repr(time.time()),
         "run", "--pipeline=disent", "--params", parameters],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(PROJECT), "DO_NOT_TRACK": "1"},
        capture_output=True,
        text=True,
    )  # fmt: skip
    if done.returncode != 0 or not report.exists():
        raise RuntimeError(f"kedro run failed:\n{(done.stdout + done.stderr)[-2000:]}")
    return KedroRun(**json.loads(report.read_text()))


def import_times() -> dict[str, Any]:
    """What importing the project takes, as Python's `-X importtime` tells it, which slows it.

    Returns:
        `seconds` in all; `packages`: those that take longest, `package` and `seconds` each,
        without what a package imports from others.
    """
    modules = "kedro.framework.cli, debias_pipeline.settings, debias_pipeline.cli"
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", f"import {modules}"],
        cwd=PROJECT,
        check=True,
        capture_output=True,
        text=True,
    )
    by_package = seconds_by_package(done.stderr)
    longest = sorted(by_package.items(), key=lambda each: -each[1])[:SHOWN_PACKAGES]
    return {
        "seconds": sum(by_package.values()),
        "packages": [{"package": name, "seconds": seconds} for name, seconds in longest],
    }


def seconds_by_package(listing: str) -> dict[str, float]:
    """Add up what `-X importtime` has printed, by the first part of modules' names."""
    seconds: dict[str, float] = defaultdict(float)
    for microseconds, module in _IMPORT_LINE.findall(listing):
        seconds[module.split(".")[0]] += int(microseconds) / 1e6
    return dict(seconds)


def _write_mnist_like(folder: Path, sizes: dict[str, int]) -> None:
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    for name, count in sizes.items():
        images = random.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = random.integers(0, 10, count, dtype=np.uint8)
        header = struct.pack(">4i", 0x803, count, 28, 28)
        (folder / f"{name}-images-idx3-ubyte").write_bytes(header + images.tobytes())
        header = struct.pack(">2i", 0x801, count)
        (folder / f"{name}-labels-idx1-ubyte").write_bytes(header + labels.tobytes())
