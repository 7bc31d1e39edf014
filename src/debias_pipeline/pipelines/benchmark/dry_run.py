"""What a grid would do: its cells, what is there, and how long the rest will take."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from kedro.io import CatalogProtocol
from rich.console import Group
from rich.text import Text

from debias_pipeline.biased_data import SetSize, get_dataset
from debias_pipeline.grid import CELL_ENTRIES, Cell
from debias_pipeline.pipelines.benchmark.timing import Speed, measure
from debias_pipeline.reporting import duration, plain_table
from debias_pipeline.training import choose_device, limited_threads

Catalog = CatalogProtocol[Any, Any]


@dataclass(frozen=True)
class PlannedCell:
    """A cell as it stands.

    Attributes:
        name: of the cell.
        there: whether all that it leaves is there.
        error: why it failed before, or None.
        seconds: how long it took if it is there, else how long it is expected to take; None
            where that cannot be told.
    """

    name: str
    there: bool
    error: str | None
    seconds: float | None


@dataclass(frozen=True)
class Plan:
    """What a grid would do.

    Attributes:
        cells: in the grid's order.
        missing_data: settings whose data is to be made.
        device: where estimates were measured.
        threads: with how many threads.
    """

    cells: Sequence[PlannedCell]
    missing_data: Sequence[str]
    device: str
    threads: int

    @property
    def seconds_left(self) -> float:
        """Expected for the cells that are not there, one after the other."""
        return sum(cell.seconds or 0 for cell in self.cells if not cell.there)


def plan(
    cells: Sequence[Cell],
    catalog: Catalog,
    parameters: Mapping[str, Any],
    outdated: Collection[str] = (),
) -> Plan:
    """Look which cells are there, and time a few steps for those that are not.

    Nothing is saved.

    Args:
        cells: that would be run, each with a recipe.
        catalog: of the run.
        parameters: of the run.
        outdated: entries of the catalog that are on disk and belong to other data.
    """
    device = choose_device(parameters["device"])
    speeds: dict[tuple[Any, ...], Speed] = {}
    planned = []
    with limited_threads(parameters["benchmark"]["threads"]) as threads:
        for cell in cells:
            outcome = catalog.load(f"{cell.name}.outcome") or {}
            names = [f"{cell.name}.{name}" for name in CELL_ENTRIES]
            there = all(name not in outdated and catalog.exists(name) for name in names)
            seconds = outcome["seconds"] if there else _expected(cell, catalog, device, speeds)
            error = None if there else outcome.get("error")
            planned.append(PlannedCell(cell.name, there, error, seconds))
    settings = dict.fromkeys(cell.setting for cell in cells)
    missing = [
        name
        for name in settings
        if f"{name}.images" in outdated or not catalog.exists(f"{name}.images")
    ]
    return Plan(planned, missing, str(device), threads)


def _expected(
    cell: Cell, catalog: Catalog, device: torch.device, speeds: dict[tuple[Any, ...], Speed]
) -> float | None:
    """Seconds; what was measured for one method, network and batch serves for all percents."""
    size = _size(cell, catalog)
    if size is None or cell.recipe is None:
        return None
    recipe = cell.recipe
    key = (cell.dataset, cell.method, recipe["network"], recipe["batch_size"], recipe["steps"])
    if key not in speeds:
        speeds[key] = measure(recipe, size, cell.seeds, device, cell.precision)
    return speeds[key].seconds(recipe, size)


def _size(cell: Cell, catalog: Catalog) -> SetSize | None:
    """Of the cell's data set: as it was made, or else as it will be, if that is known."""
    card = catalog.load(f"{cell.setting}.data_card")
    if not isinstance(card, dict):
        return get_dataset(cell.dataset).size
    images = {split: card["splits"][split]["images"] for split in ("train", "valid", "test")}
    height, width, _ = card["image_shape"]
    return SetSize(**images, height=height, width=width, classes=len(card["label_names"]))


def plan_table(plan: Plan) -> Group:
    """A plan for people."""
    table = plain_table(gap=2)
    table.add_column("Cell", overflow="fold")
    table.add_column("State", overflow="fold")
    table.add_column("Time", justify="right", no_wrap=True)
    for cell in plan.cells:
        state = "there" if cell.there else f"failed: {cell.error}" if cell.error else "to do"
        about = "" if cell.there or cell.seconds is None else "about "
        table.add_row(Text(cell.name), Text(state), about + duration(cell.seconds))
    return Group(table, Text("\n".join(_sentences(plan))))


def _sentences(plan: Plan) -> list[str]:
    left = [cell for cell in plan.cells if not cell.there]
    cells = "1 cell" if len(plan.cells) == 1 else f"{len(plan.cells)} cells"
    counted = f"{cells}: {len(plan.cells) - len(left)} there, {len(left)} to do."
    if not left:
        return [counted]
    unknown = [cell.name for cell in left if cell.seconds is None]
    threads = "1 thread" if plan.threads == 1 else f"{plan.threads} threads"
    sentences = [
        f"{counted} Time left with --only-missing-outputs: about {duration(plan.seconds_left)}, "
        "one cell after the other.",
        "Estimated from a few timed steps per method and network on random images, on "
        f"{plan.device} with {threads}; without the time to make data.",
    ]
    if plan.missing_data:
        sentences.append(f"Data to be made: {', '.join(plan.missing_data)}.")
    if unknown:
        sentences.append(
            f"No estimate for {', '.join(unknown)}: how large the data is shows when it is made."
        )
    return sentences
