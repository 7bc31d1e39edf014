"""What a change did to the speed of a step, on a machine that is faster now and slower then.

    git worktree add ../before a994271
    python -m benchmarks.before_after ../before/src --method vanilla disent --replicas 1 5

Steps on cmnist are measured by today's benchmark in processes that take turns: one with the sources
of an earlier commit, one with those that are here. A figure is the median over the processes of
either kind.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.compare import Move, comparison_table, moves, read_results
from benchmarks.tables import print_whole
from benchmarks.timing import Timing

HERE = Path(__file__).parents[1]
ROUNDS = 5


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("before", type=Path, help="folder that holds debias_pipeline as it was")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="processes of either kind")
    options, choice = parser.parse_known_args(arguments)
    if not (options.before / "debias_pipeline").is_dir():
        parser.error(f"{options.before} holds no debias_pipeline: name its folder src")
    rounds = []
    for number in range(options.rounds):
        print(f"round {number + 1} of {options.rounds} ...", file=sys.stderr, flush=True)
        rounds.append(moves(*(_measured(each, choice) for each in (options.before, HERE / "src"))))
    print_whole(comparison_table(over_rounds(rounds)))


def over_rounds(rounds: Sequence[Sequence[Move]]) -> list[Move]:
    """Each figure's median and quartiles over the medians of all rounds."""
    return [
        replace(
            of_figure[0],
            old=Timing.of([each.old.median for each in of_figure]),
            new=Timing.of([each.new.median for each in of_figure]),
        )
        for of_figure in zip(*rounds, strict=True)
    ]


def _measured(sources: Path, choice: Sequence[str]) -> Mapping[str, Any]:
    """The results of one process with the package in `sources`."""
    path = os.pathsep.join((str(sources.resolve()), str(HERE)))
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "results.json"
        command = [sys.executable, "-m", "benchmarks", "--only", "cmnist", "--json", str(results)]
        subprocess.run(
            [*command, *choice],
            env={**os.environ, "PYTHONPATH": path},
            stdout=subprocess.DEVNULL,
            check=True,
        )
        return read_results(results)


if __name__ == "__main__":
    main()
