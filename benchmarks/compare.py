"""Compare the steps of two checkouts, measured by processes that take turns."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.cases import PROJECT
from benchmarks.rows import Row, Spread

KEY = ("dataset", "method", "seeds", "precision")


def compare_rows(before: Path, rounds: int, choice: Sequence[str]) -> list[Row]:
    """Measure the steps of an earlier checkout and of this one in turn.

    Args:
        before: the earlier checkout; it needs `python -m benchmarks --only steps --json`.
        rounds: number of processes of each checkout.
        choice: further arguments of both.
    """
    pairs = []
    for number in range(rounds):
        print(f"round {number + 1} of {rounds} ...", file=sys.stderr, flush=True)
        pairs.append([measured_steps(checkout, choice) for checkout in (before, PROJECT)])
    return ratio_rows(pairs)


def ratio_rows(pairs: Sequence[Sequence[Mapping[tuple[Any, ...], float]]]) -> list[Row]:
    """Return a row per case that both checkouts have.

    Args:
        pairs: for each round, the milliseconds of a step before and after, by case.

    Returns:
        Medians over the rounds, their ratio, and the quartiles of the ratios of the rounds.
    """
    rows: list[Row] = []
    for case in pairs[0][1]:
        if case not in pairs[0][0]:
            continue
        before, after = ([each[side][case] for each in pairs] for side in (0, 1))
        medians = statistics.median(before), statistics.median(after)
        spread = Spread.of([new / old for old, new in zip(before, after, strict=True)])
        rows.append(
            {
                **dict(zip(KEY, case, strict=True)),
                "before, ms": medians[0],
                "after, ms": medians[1],
                "ratio": Spread(medians[1] / medians[0], spread.lower, spread.upper),
                "rounds": len(pairs),
            }
        )
    return rows


def measured_steps(checkout: Path, choice: Sequence[str]) -> dict[tuple[Any, ...], float]:
    """Return the median milliseconds of a step by case, measured in a process of its own.

    Raises:
        RuntimeError: if the process used another checkout's package.
    """
    source = checkout.resolve() / "src"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "steps.json"
        subprocess.run(
            [sys.executable, "-m", "benchmarks", "--only", "steps", "--json", file, *choice],
            cwd=checkout,
            env={**os.environ, "PYTHONPATH": str(source)},
            stdout=subprocess.DEVNULL,
            check=True,
        )
        found = json.loads(file.read_text())
    if Path(found["machine"]["package"]).parent != source:
        raise RuntimeError(f"{found['machine']['package']} was measured; expected it in {source}")
    return {tuple(row[name] for name in KEY): row["step, ms"]["median"] for row in found["steps"]}
