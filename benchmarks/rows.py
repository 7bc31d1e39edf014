"""Rows of measured values: summarise, print and save them."""

import dataclasses
import json
import os
import platform
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import pandas as pd
import torch

import debias_pipeline


@dataclasses.dataclass(frozen=True)
class Spread:
    """Median and quartiles of repeated measurements."""

    median: float
    lower: float
    upper: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Summarise measurements; a single one has no spread."""
        if len(values) == 1:
            return cls(values[0], values[0], values[0])
        lower, median, upper = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median, lower, upper)

    def __str__(self) -> str:
        """Return a text such as "1.60 (1.57 to 1.64)"."""
        return f"{short(self.median)} ({short(self.lower)} to {short(self.upper)})"


# Column → value. Columns that end with a unit say so: "step, ms".
Row: TypeAlias = Mapping[str, str | int | float | Spread]


def short(number: float) -> str:
    """Return a number with three significant digits."""
    return f"{number:.0f}" if abs(number) >= 100 else f"{number:#.3g}"


def print_rows(title: str, rows: Sequence[Row]) -> None:
    """Print a table, as wide as its content."""
    shown = [
        {name: short(each) if isinstance(each, float) else str(each) for name, each in row.items()}
        for row in rows
    ]
    print(f"\n{title}\n\n{pd.DataFrame(shown).to_string(index=False)}", flush=True)


def machine() -> dict[str, Any]:
    """Return the machine, its load and the versions that the numbers depend on."""
    package = Path(debias_pipeline.__file__).parent
    commit = ["git", "-C", package, "describe", "--always", "--dirty"]
    return {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
        "torch": torch.__version__,
        "package": str(package),
        "commit": subprocess.run(commit, capture_output=True, text=True).stdout.strip(),
    }


def print_machine() -> None:
    """Print what `machine` returns, on one line."""
    print(", ".join(f"{name} {value}" for name, value in machine().items()), flush=True)


def write_json(path: Path, tables: Mapping[str, Sequence[Row]]) -> None:
    """Write the machine and all rows; a spread is a mapping of its three values."""
    tables = {"machine": machine(), **tables}
    path.write_text(json.dumps(tables, indent=2, default=dataclasses.asdict))
