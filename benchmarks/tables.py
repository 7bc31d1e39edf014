"""Results as tables on the terminal."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from benchmarks.parts import EVAL_EVERY, PARTS
from benchmarks.timing import Timing

CASE_COLUMNS = ("data", "method", "R", "precision")
TEXT_COLUMNS = ("data", "method", "precision", "figure", "line", "load", "threads")
HEADER_WIDTH = 12


def print_tables(results: Mapping[str, Any]) -> None:
    """Print what was measured; parts that were left out have no table."""
    for table in _tables(results):
        print_whole(table)


def print_whole(table: Table) -> None:
    """Print a table as wide as it is: a terminal too narrow for it breaks lines, cells are kept."""
    console = Console()
    wide = console.options.update(max_width=10_000)
    console.width = max(console.width, Measurement.get(console, wide, table).maximum)
    console.print(table)


def table_of(title: str, columns: Sequence[str]) -> Table:
    """An empty table, numbers to the right."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in columns:
        justify = "left" if column in TEXT_COLUMNS else "right"
        header = textwrap.fill(column, HEADER_WIDTH)
        table.add_column(header, justify=justify, no_wrap=True)
    return table


def _tables(results: Mapping[str, Any]) -> Iterator[Table]:
    if results["steps"]:
        yield step_table(results["steps"])
        yield parts_table(results["steps"])
    if results.get("busy"):
        yield busy_table(results["busy"])
    if results["startup"] or results["memory"] or results["snapshots"]:
        yield process_table(results)


def busy_table(entries: Sequence[Mapping[str, Any]]) -> Table:
    """A row per load and choice of the threads."""
    table = table_of(
        "A step of cmnist disent, R=1, fp32, on a busy machine",
        ("load", "threads", "ms", "to the best fixed choice", "steps by number"),
    )
    for entry in entries:
        steps = ", ".join(f"{count}: {steps}" for count, steps in entry["steps"].items())
        time, ratio = f"{entry['milliseconds']:.1f}", f"{entry['ratio']:.2f}"
        table.add_row(entry["load"], entry["choice"], time, ratio, steps)
    return table


def step_table(cases: Sequence[Mapping[str, Any]]) -> Table:
    """A row per case: times and ratios."""
    table = table_of(
        "One training step: medians in ms, quartiles in brackets",
        (*CASE_COLUMNS, "step", "alone", "ratio", "steps/s", "seed-steps/s"),
    )
    for case in cases:
        table.add_row(
            *_case_cells(case),
            with_quartiles(case["step"], ".1f"),
            f"{case['alone']['median']:.1f}",
            with_quartiles(case["ratio"], ".2f"),
            f"{case['steps_per_second']:.3g}",
            f"{case['seed_steps_per_second']:.3g}",
        )
    return table


def parts_table(cases: Sequence[Mapping[str, Any]]) -> Table:
    """A row per case: where the time goes."""
    table = table_of(
        f"Where the time of a run goes, in %, evaluated every {EVAL_EVERY} steps",
        (*CASE_COLUMNS, *PARTS),
    )
    for case in cases:
        if case["parts"]:
            table.add_row(
                *_case_cells(case), *(f"{100 * case['parts'][part]:.1f}" for part in PARTS)
            )
    return table


def process_table(results: Mapping[str, Any]) -> Table:
    """Start-up, memory and the cost of snapshots."""
    table = table_of("kedro run --pipeline=disent on data of cmnist's size", ("figure", "value"))
    startup = results["startup"]
    if startup:
        for name in ("from_raw", "again"):
            value = with_quartiles(startup[name], ".1f")
            table.add_row(f"seconds to the first step, {name.replace('_', ' ')}", value)
        imports = startup["imports"]
        table.add_row("seconds of imports, as -X importtime has it", f"{imports['seconds']:.1f}")
        for each in imports["packages"]:
            table.add_row(f"    {each['package']}", f"{each['seconds']:.2f}")
    for each in results["memory"]:
        table.add_row(f"peak memory, R={each['replicas']}, GB", f"{each['peak_gb']:.2f}")
    for each in results["snapshots"]:
        name = f"% of the training time for snapshots, R={each['replicas']}"
        table.add_row(name, f"{100 * each['share']:.2f}")
    return table


def with_quartiles(timing: Mapping[str, float] | Timing, form: str) -> str:
    """Such as "5.1 [5.0, 5.4]", or "5.1" where there is no spread."""
    values = timing if isinstance(timing, Mapping) else vars(timing)
    median, lower, upper = (format(values[name], form) for name in ("median", "lower", "upper"))
    return median if lower == upper else f"{median} [{lower}, {upper}]"


def _case_cells(case: Mapping[str, Any]) -> tuple[str, str, str, str]:
    return case["dataset"], case["method"], str(case["replicas"]), case["precision"]
