"""Command line of the benchmarks."""

import argparse
import dataclasses
import json
import platform
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.cmnist import digits_like_data, measure_step
from benchmarks.memory import peak_memory_of_cmnist_run

RESULTS = Path(__file__).parent / "results" / "latest.json"


def main() -> None:
    """Measure, print a table, leave JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=200, help="timed calls a case (200)")
    parser.add_argument("--no-memory", action="store_true", help="leave the memory run out")
    parser.add_argument("--json", type=Path, default=RESULTS, help="where the figures go")
    arguments = parser.parse_args()

    data = digits_like_data()
    table = Table(title="One training step on cmnist, batch 256 (medians, quartiles in brackets)")
    for column in ("method", "R", "precision", "step, ms", "products, ms", "ratio", "seed-steps/s"):
        table.add_column(column, justify="left" if column in ("method", "precision") else "right")
    figures = []
    for method in ("vanilla", "disent"):
        for replicas in (1, 3, 5):
            for precision in ("fp32", "bf16"):
                times = measure_step(data, method, replicas, precision, arguments.rounds)
                step, products = times["step"], times["products"]
                ratio = step.median / products.median
                figures.append(
                    {
                        "dataset": "cmnist",
                        "method": method,
                        "replicas": replicas,
                        "precision": precision,
                        "ratio": ratio,
                        **{name: dataclasses.asdict(each) for name, each in times.items()},
                    }
                )
                table.add_row(
                    method,
                    str(replicas),
                    precision,
                    f"{step.median:.2f} [{step.lower:.2f}, {step.upper:.2f}]",
                    f"{products.median:.2f}",
                    f"{ratio:.2f}",
                    f"{1000 * replicas / step.median:.0f}",
                )
    Console().print(table)
    memory = None if arguments.no_memory else peak_memory_of_cmnist_run()
    if memory is not None:
        print(f"Peak memory of a cmnist run: {memory:.2f} GB")
    machine = {
        "processor": platform.machine(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(
        json.dumps({"machine": machine, "steps": figures, "peak_memory_gb": memory}, indent=2)
    )


if __name__ == "__main__":
    main()
