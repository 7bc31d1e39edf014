"""Measure the speed of training steps and of `kedro run`; see benchmarks/README.md."""

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.cases import PRECISIONS, SIZES, Case, cases, random_data
from benchmarks.compare import compare_rows
from benchmarks.parts import parts_row
from benchmarks.rows import Row, print_machine, print_rows, write_json
from benchmarks.runs import package_rows, run_rows
from benchmarks.steps import step_row
from debias_pipeline.images import ImageData
from debias_pipeline.methods import method_names

TITLES = {
    "steps": "One training step and its bare products: median (quartiles)",
    "parts": "Where the time of a step goes, by the profiler; products are in losses and backward",
    "runs": "Start-up time and memory of whole commands",
    "packages": "Seconds of start-up by imported package",
}
# Seconds on two idle cores: of a round of commands, and of the packages.
RUN_SECONDS, PACKAGE_SECONDS = 30, 20


@dataclass(frozen=True)
class Effort:
    """How much is measured.

    Attributes:
        methods: unless the user chooses.
        seeds, precisions: of the cases of cmnist; those of cifar10c have one seed.
        seconds: time to spend on a case, by data set.
        profiled_steps: of each case, by data set.
        run_rounds: how often each command is run.
    """

    methods: Sequence[str]
    seeds: Sequence[int]
    precisions: Sequence[str]
    seconds: Mapping[str, float]
    profiled_steps: Mapping[str, int]
    run_rounds: int


FULL = Effort(
    ("vanilla", "lff", "disent", "lff_be", "jtt", "groupdro"), (1, 5), PRECISIONS,
    {"cmnist": 4.0, "cifar10c": 8.0}, {"cmnist": 50, "cifar10c": 3}, 3,
)  # fmt: skip
QUICK = Effort(
    ("vanilla", "lff", "disent"), (1,), ("fp32",),
    {"cmnist": 1.0, "cifar10c": 1.0}, {"cmnist": 10, "cifar10c": 1}, 1,
)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print tables and write JSON."""
    options = parse(arguments)
    if options.compare:
        rows = compare_rows(options.compare, options.rounds, choice_of_steps(options))
        print_rows(f"A step of {options.compare} (before) and of this checkout (after)", rows)
        return
    sections = measurements(options)
    minutes = sum(seconds for seconds, _ in sections.values()) / 60
    print(f"About {minutes:.1f} min on two idle cores: {', '.join(sections)}", flush=True)
    print_machine()
    started, tables = time.monotonic(), {}
    for section, (_, measure) in sections.items():
        tables[section] = measure()
        print_rows(TITLES[section], tables[section])
    print(f"\nTook {(time.monotonic() - started) / 60:.1f} min")
    if options.json:
        write_json(options.json, tables)


def measurements(
    options: argparse.Namespace,
) -> dict[str, tuple[float, Callable[[], Sequence[Row]]]]:
    """Return the chosen sections: name → expected seconds, and a function that measures."""
    effort = QUICK if options.quick else FULL
    chosen = list(chosen_cases(options, effort))
    plain = [case for case in chosen if (case.seeds, case.precision) == (1, "fp32")] or chosen
    seconds, steps = effort.seconds, effort.profiled_steps
    available: dict[str, tuple[float, Callable[[], Sequence[Row]]]] = {
        "steps": (
            # Networks and random images are made as well.
            sum(1 + seconds[case.dataset] for case in chosen),
            lambda: [step_row(case, data(case), seconds[case.dataset]) for case in chosen],
        ),
        "parts": (
            sum(seconds[case.dataset] for case in plain),
            lambda: [parts_row(case, data(case), steps[case.dataset]) for case in plain],
        ),
        "runs": (
            RUN_SECONDS * effort.run_rounds,
            lambda: [*run_rows(effort.run_rounds, options.params)],
        ),
        "packages": (PACKAGE_SECONDS, lambda: package_rows(options.params)),
    }
    return {name: available[name] for name in options.only or TITLES}


def choice_of_steps(options: argparse.Namespace) -> list[str]:
    """Return the arguments with which the user chose steps."""
    arguments = ["--quick"] if options.quick else []
    for name in ("dataset", "method", "seeds", "precision"):
        if values := getattr(options, name):
            arguments += [f"--{name}", *map(str, values)]
    return arguments


def chosen_cases(options: argparse.Namespace, effort: Effort) -> Sequence[Case]:
    """Return the cases that the user chooses, or else those of the effort."""
    found: list[Case] = []
    for dataset in options.dataset or SIZES:
        seeds = options.seeds or (effort.seeds if dataset == "cmnist" else (1,))
        methods = options.method or effort.methods
        found += cases([dataset], methods, seeds, options.precision or effort.precisions)
    return found


def data(case: Case) -> ImageData:
    """Return random images of the published size."""
    return random_data(*SIZES[case.dataset])


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="less of it, in about a minute")
    parser.add_argument("--only", nargs="+", choices=TITLES, help="these sections")
    parser.add_argument("--dataset", nargs="+", choices=SIZES, help="data sets of the steps")
    parser.add_argument("--method", nargs="+", choices=method_names(), help="of the steps")
    parser.add_argument("--seeds", nargs="+", type=int, help="numbers of seeds of the steps")
    parser.add_argument("--precision", nargs="+", choices=PRECISIONS, help="of the steps")
    parser.add_argument("--params", default="", help="of kedro run, in runs and packages")
    parser.add_argument("--json", type=Path, help="file to write all numbers to")
    parser.add_argument("--compare", type=Path, metavar="CHECKOUT", help="steps there and here")
    parser.add_argument("--rounds", type=int, default=5, help="of --compare: processes of each")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
