"""What a grid would do: its trials, what is there, and how long the rest will take."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from kedro.io import CatalogProtocol
from rich.console import Group
from rich.text import Text

from debias_pipeline.biased_data import SetSize, get_dataset
from debias_pipeline.grid.catalog import load_or_none
from debias_pipeline.grid.timing import Speed, measure
from debias_pipeline.grid.trials import TRIAL_ENTRIES, Trial
from debias_pipeline.reporting import duration, plain_table
from debias_pipeline.training import choose_device, limited_threads

Catalog = CatalogProtocol[Any, Any]


@dataclass(frozen=True)
class PlannedTrial:
    """The state of a trial.

    Attributes:
        name: of the trial.
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
        trials: in the grid's order.
        missing_data: settings whose data is to be made.
        device: where estimates were measured.
        threads: with how many threads.
    """

    trials: Sequence[PlannedTrial]
    missing_data: Sequence[str]
    device: str
    threads: int

    @property
    def seconds_left(self) -> float:
        """Expected for the trials that are not there, one after the other."""
        return sum(trial.seconds or 0 for trial in self.trials if not trial.there)


def plan(
    trials: Sequence[Trial],
    catalog: Catalog,
    parameters: Mapping[str, Any],
    outdated: Collection[str] = (),
) -> Plan:
    """Look which trials are there, and time a few steps for those that are not.

    Nothing is saved.

    Args:
        trials: that would be run, each with a recipe.
        catalog: of the run.
        parameters: of the run.
        outdated: entries of the catalog that are on disk and belong to other data.
    """
    device = choose_device(parameters["device"])
    speeds: dict[tuple[Any, ...], Speed] = {}
    planned = []
    with limited_threads(parameters["benchmark"]["threads"]) as threads:
        for trial in trials:
            outcome = load_or_none(catalog, f"{trial.name}.outcome") or {}
            names = [f"{trial.name}.{name}" for name in TRIAL_ENTRIES]
            there = all(name not in outdated and catalog.exists(name) for name in names)
            seconds = outcome["seconds"] if there else _expected(trial, catalog, device, speeds)
            error = None if there else outcome.get("error")
            planned.append(PlannedTrial(trial.name, there, error, seconds))
    settings = dict.fromkeys(trial.setting for trial in trials)
    missing = [
        name
        for name in settings
        if f"{name}.images" in outdated or not catalog.exists(f"{name}.images")
    ]
    return Plan(planned, missing, str(device), threads)


def _expected(
    trial: Trial, catalog: Catalog, device: torch.device, speeds: dict[tuple[Any, ...], Speed]
) -> float | None:
    """Seconds; what was measured for one method, network and batch serves for all percents."""
    size = _size(trial, catalog)
    if size is None or trial.recipe is None:
        return None
    recipe = trial.recipe
    key = (trial.dataset, trial.method, recipe["network"], recipe["batch_size"], recipe["steps"])
    if key not in speeds:
        speeds[key] = measure(recipe, size, trial.seeds, device, trial.precision)
    return speeds[key].seconds(recipe, size)


def _size(trial: Trial, catalog: Catalog) -> SetSize | None:
    """Of the trial's data set: as it was made, or else as it will be, if that is known."""
    card = load_or_none(catalog, f"{trial.setting}.data_card")
    if not isinstance(card, dict):
        return get_dataset(trial.dataset).size
    images = {split: card["splits"][split]["images"] for split in ("train", "valid", "test")}
    height, width, _ = card["image_shape"]
    return SetSize(**images, height=height, width=width, classes=len(card["label_names"]))


def plan_table(plan: Plan) -> Group:
    """A plan for people."""
    table = plain_table(gap=2)
    table.add_column("Trial", overflow="fold")
    table.add_column("State", overflow="fold")
    table.add_column("Time", justify="right", no_wrap=True)
    for trial in plan.trials:
        state = "there" if trial.there else f"failed: {trial.error}" if trial.error else "to do"
        about = "" if trial.there or trial.seconds is None else "about "
        table.add_row(Text(trial.name), Text(state), about + duration(trial.seconds))
    return Group(table, Text("\n".join(_sentences(plan))))


def _sentences(plan: Plan) -> list[str]:
    left = [trial for trial in plan.trials if not trial.there]
    trials = "1 trial" if len(plan.trials) == 1 else f"{len(plan.trials)} trials"
    counted = f"{trials}: {len(plan.trials) - len(left)} there, {len(left)} to do."
    if not left:
        return [counted]
    unknown = [trial.name for trial in left if trial.seconds is None]
    threads = "1 thread" if plan.threads == 1 else f"{plan.threads} threads"
    sentences = [
        f"{counted} Time left with --only-missing-outputs: about {duration(plan.seconds_left)}, "
        "one trial after the other.",
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
