"""Command line of the benchmarks."""

import argparse
import dataclasses
import json
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.cifar10c import cifar10c_like_data, measure_cifar10c_step
from benchmarks.cmnist import cmnist_like_data, measure_cmnist_step
from benchmarks.memory import peak_memory_of_cmnist_run
from benchmarks.timing import Timing

RESULTS = Path(__file__).parent / "results" / "latest.json"
ROUNDS_OF_SMALL_STEPS, ROUNDS_OF_LARGE_STEPS = 200, 7


def main() -> None:
    """Measure, print a table, leave JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the rounds")
    parser.add_argument(
        "--only", choices=("cmnist", "cifar10c", "memory"), help="leave the others out"
    )
    parser.add_argument("--json", type=Path, default=RESULTS, help="where the figures go")
    arguments = parser.parse_args()

    def wanted(part: str) -> bool:
        return arguments.only in (None, part)

    # First: what a process has used counts for the processes that it starts.
    memory = peak_memory_of_cmnist_run() if wanted("memory") else None
    cases = []
    if wanted("cmnist"):
        rounds = ROUNDS_OF_SMALL_STEPS // (10 if arguments.quick else 1)
        cases += list(_cmnist_cases(rounds))
    if wanted("cifar10c"):
        cases += list(_cifar10c_cases(3 if arguments.quick else ROUNDS_OF_LARGE_STEPS))
    if cases:
        Console(width=max(100, Console().width)).print(_table(cases))
    if memory is not None:
        print(f"Peak memory of a cmnist run: {memory:.2f} GB")
    _write(arguments.json, cases, memory)


def _cmnist_cases(rounds: int) -> Iterator[dict[str, Any]]:
    data = cmnist_like_data()
    for method in ("vanilla", "disent"):
        for replicas in (1, 3, 5):
            for precision in ("fp32", "bf16"):
                times = measure_cmnist_step(data, method, replicas, precision, rounds)
                yield _case("cmnist", method, replicas, precision, times)


def _cifar10c_cases(rounds: int) -> Iterator[dict[str, Any]]:
    data = cifar10c_like_data()
    for method in ("vanilla", "disent"):
        for precision in ("fp32", "bf16"):
            times = measure_cifar10c_step(data, method, precision, rounds)
            yield _case("cifar10c", method, 1, precision, times)


def _case(
    dataset: str, method: str, replicas: int, precision: str, times: dict[str, Timing]
) -> dict[str, Any]:
    return {
        "dataset": dataset,
        "method": method,
        "replicas": replicas,
        "precision": precision,
        "ratio": times["step"].median / times["alone"].median,
        **{name: dataclasses.asdict(timing) for name, timing in times.items()},
    }


def _table(cases: list[dict[str, Any]]) -> Table:
    table = Table(title="One training step, batch 256: medians in ms, quartiles in brackets")
    for column in ("data", "method", "R", "precision", "step", "alone", "ratio", "seed-steps/s"):
        text = column in ("data", "method", "precision")
        table.add_column(column, justify="left" if text else "right", no_wrap=True)
    for case in cases:
        step = case["step"]
        table.add_row(
            case["dataset"],
            case["method"],
            str(case["replicas"]),
            case["precision"],
            f"{step['median']:.1f} [{step['lower']:.1f}, {step['upper']:.1f}]",
            f"{case['alone']['median']:.1f}",
            f"{case['ratio']:.2f}",
            f"{1000 * case['replicas'] / step['median']:.3g}",
        )
    return table


def _write(path: Path, cases: list[dict[str, Any]], memory: float | None) -> None:
    machine = {
        "processor": platform.machine(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        json.dumps({"machine": machine, "steps": cases, "peak_memory_gb": memory}, indent=2)
    )


if __name__ == "__main__":
    main()
