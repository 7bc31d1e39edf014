"""What moved between two files of results.

python -m benchmarks.compare old.json new.json
"""

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks.tables import print_whole, table_of, with_quartiles
from benchmarks.timing import Timing


class UnreadableResultsError(Exception):
    """A file that is no results of this benchmark; the message is one line."""


@dataclass(frozen=True)
class Move:
    """A figure that both files have.

    Attributes:
        name: what was measured.
        old: then.
        new: now.
    """

    name: str
    old: Timing
    new: Timing

    @property
    def change(self) -> float:
        """As a fraction of the old median; negative is less."""
        return self.new.median / self.old.median - 1

    @property
    def beyond_spread(self) -> bool:
        """Whether the quartiles of old and new do not overlap."""
        return self.new.upper < self.old.lower or self.new.lower > self.old.upper


def read_results(path: Path) -> dict[str, Any]:
    """A file that `make bench` left.

    Raises:
        UnreadableResultsError: if it is not there or is something else.
    """
    try:
        results = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UnreadableResultsError(f"{path} cannot be read ({error})") from error
    if not isinstance(results, dict) or not isinstance(results.get("steps"), list):
        raise UnreadableResultsError(f"{path} holds no results of make bench")
    return results


def moves(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Move]:
    """The figures that both have, in the order of the new."""
    before, after = dict(_figures(old)), dict(_figures(new))
    return [Move(name, before[name], now) for name, now in after.items() if name in before]


def print_comparison(old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Print a row per figure, those marked that moved by more than their spread."""
    print_whole(comparison_table(moves(old, new)))
    for key, value in new.get("machine", {}).items():
        was = old.get("machine", {}).get(key)
        if was != value:
            print(f"Not the same machine or software: {key} was {was}, is {value}")


def comparison_table(found: list[Move]) -> Table:
    """Old, new, change; an asterisk where the quartiles do not overlap."""
    table = table_of(
        "What moved (* by more than the spread)", ("figure", "old", "new", "change in %", "")
    )
    for each in found:
        form = ".0f" if each.new.median >= 100 else ".3g"
        table.add_row(
            each.name,
            with_quartiles(each.old, form),
            with_quartiles(each.new, form),
            f"{100 * each.change:+.1f}",
            "*" if each.beyond_spread else "",
        )
    return table


def _figures(results: Mapping[str, Any]) -> Iterator[tuple[str, Timing]]:
    # Until schema 2 the ratio of cmnist was to the products of the first layers only.
    to_all_products = results.get("schema", 0) >= 2
    for case in results["steps"]:
        name = f"{case['dataset']} {case['method']} R={case['replicas']} {case['precision']}"
        yield f"{name}: step, ms", _timing(case["step"])
        if to_all_products or case["dataset"] != "cmnist":
            yield f"{name}: ratio", _timing(case["ratio"])
    for name, value in (results.get("startup") or {}).items():
        if name != "imports":
            yield f"seconds to the first step, {name.replace('_', ' ')}", _timing(value)
    for each in results.get("memory") or []:
        yield f"peak memory, R={each['replicas']}, GB", _timing(each["peak_gb"])


def _timing(value: Mapping[str, float] | float) -> Timing:
    if isinstance(value, Mapping):
        return Timing(value["median"], value["lower"], value["upper"])
    return Timing(value, value, value)


if __name__ == "__main__":
    try:
        print_comparison(*(read_results(Path(name)) for name in sys.argv[1:3]))
    except (UnreadableResultsError, TypeError) as error:
        sys.exit(f"python -m benchmarks.compare old.json new.json: {error}")
