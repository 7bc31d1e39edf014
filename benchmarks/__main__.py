"""Speed and memory, measured as ratios within one process: see benchmarks/README.md."""

import argparse
import dataclasses
import json
import logging
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.busy_machine import measure_busy
from benchmarks.cases import PRECISIONS, Case, Choice, methods_to_measure
from benchmarks.cifar10c import (
    cifar10c_like_data,
    measure_cifar10c_step,
    parts_of_cifar10c_run,
)
from benchmarks.cmnist import cmnist_like_data, measure_cmnist_step, parts_of_cmnist_run
from benchmarks.compare import UnreadableResultsError, print_comparison, read_results
from benchmarks.kedro_runs import measure_memory, measure_startup
from benchmarks.parts import Parts, mlflow_run, share_of_snapshots
from benchmarks.steps import published_recipe
from benchmarks.tables import print_tables
from benchmarks.timing import Timing

SCHEMA = 2
RESULTS = Path(__file__).parent / "results" / "latest.json"
SECTIONS = ("startup", "memory", "snapshots", "cmnist", "cifar10c", "busy")


@dataclasses.dataclass(frozen=True)
class Effort:
    """How often things are repeated."""

    cmnist_blocks: int
    cmnist_part_steps: int
    cifar10c_blocks: int
    cifar10c_part_steps: int
    startup_rounds: int
    memory_steps: int
    busy_rounds: int
    snapshot_steps: int


FULL = Effort(8, 200, 3, 3, 3, 500, 3, 5000)
QUICK = Effort(2, 30, 1, 2, 1, 50, 1, 1000)


def main(arguments: list[str] | None = None) -> None:
    """Measure, print tables, leave JSON."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        old = read_results(options.compare) if options.compare else None
    except UnreadableResultsError as error:
        parser.error(str(error))
    for noisy in ("alembic", "mlflow"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    choice = Choice(options.method, options.replicas, options.precision)
    effort = QUICK if options.quick else FULL
    results = measure(options.only or SECTIONS, choice, effort)
    print(f"Load average at the start: {results['load']:.1f} on {os.cpu_count()} cores")
    print_tables(results)
    if old is not None:
        print_comparison(old, results)
    _write(options.json, {**results, "quick": options.quick})
    print(f"Written to {options.json}")


def measure(sections: Sequence[str], choice: Choice, effort: Effort) -> dict[str, Any]:
    """Measure some sections; see benchmarks/README.md for what is returned."""
    results: dict[str, Any] = {
        "schema": SCHEMA,
        "machine": _machine(),
        "steps": [],
        "load": os.getloadavg()[0],
        "busy": [],
        "startup": None,
        "memory": [],
        "snapshots": [],
    }
    if "startup" in sections:
        _say("kedro run to the first step")
        results["startup"] = measure_startup(effort.startup_rounds)
    if "memory" in sections:
        _say("peak memory of kedro run")
        results["memory"] = [measure_memory(each, effort.memory_steps) for each in (1, 5)]
    if "snapshots" in sections:
        results["snapshots"] = _snapshots(effort.snapshot_steps)
    with mlflow_run():
        if "cmnist" in sections:
            results["steps"] += _cmnist(choice, effort)
        if "cifar10c" in sections:
            results["steps"] += _cifar10c(choice, effort)
    if "busy" in sections:
        results["busy"] = measure_busy(effort.busy_rounds)
    return results


def case_figures(case: Case, timings: dict[str, Timing], parts: Parts | None) -> dict[str, Any]:
    """One entry of `steps` in the JSON."""
    steps_per_second = 1000 / timings["step"].median
    return {
        **dataclasses.asdict(case),
        **{name: dataclasses.asdict(timing) for name, timing in timings.items()},
        "steps_per_second": steps_per_second,
        "seed_steps_per_second": case.replicas * steps_per_second,
        "parts": parts.shares() if parts else None,
    }


def _snapshots(steps: int) -> list[dict[str, Any]]:
    data, recipe, shares = cmnist_like_data(), published_recipe("cmnist", "disent"), []
    for replicas in (1, 3):
        _say(f"snapshots of cmnist disent R={replicas}")
        share = share_of_snapshots(data, recipe, replicas, steps)
        shares.append({"replicas": replicas, "steps": steps, "share": share})
    return shares


def _cmnist(choice: Choice, effort: Effort) -> list[dict[str, Any]]:
    data, figures = cmnist_like_data(), []
    for case in choice.cases("cmnist"):
        _say(case.name)
        timings = measure_cmnist_step(data, case, effort.cmnist_blocks)
        parts = parts_of_cmnist_run(data, case, effort.cmnist_part_steps)
        figures.append(case_figures(case, timings, parts))
    return figures


def _cifar10c(choice: Choice, effort: Effort) -> list[dict[str, Any]]:
    data, figures = cifar10c_like_data(), []
    for case in choice.cases("cifar10c"):
        _say(case.name)
        timings = measure_cifar10c_step(data, case, effort.cifar10c_blocks)
        # A loop over replicas: with more of them the parts are what they are with one.
        alone = case.replicas == 1
        parts = parts_of_cifar10c_run(data, case, effort.cifar10c_part_steps) if alone else None
        figures.append(case_figures(case, timings, parts))
    return figures


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="repeat far less")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, help="leave the others out")
    parser.add_argument(
        "--method", nargs="+", default=[], choices=methods_to_measure(), help="of the steps"
    )
    parser.add_argument("--replicas", nargs="+", type=int, default=[], help="seeds at once")
    parser.add_argument("--precision", nargs="+", default=[], choices=PRECISIONS)
    parser.add_argument("--json", type=Path, default=RESULTS, help="where the figures go")
    parser.add_argument("--compare", type=Path, help="earlier figures: show what moved")
    return parser


def _machine() -> dict[str, Any]:
    return {
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def _say(what: str) -> None:
    print(f"measuring {what} ...", file=sys.stderr, flush=True)


def _write(path: Path, results: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part")
    partial.write_text(json.dumps(results, indent=2))
    partial.replace(path)


if __name__ == "__main__":
    main()
