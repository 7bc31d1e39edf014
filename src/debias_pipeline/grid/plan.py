"""Plan a grid without running it: which trials are done, and how long the others will take."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from rich.console import Group
from rich.text import Text

from debias_pipeline.biased_data import SetSize, get_dataset
from debias_pipeline.grid.catalog import Catalog, load_or_none
from debias_pipeline.grid.timing import Speed, measure
from debias_pipeline.grid.trials import TRIAL_ENTRIES, Trial
from debias_pipeline.reporting import counted, duration, plain_table
from debias_pipeline.training import choose_device, limited_threads


@dataclass(frozen=True)
class PlannedTrial:
    """The state of a trial.

    Attributes:
        name: name of the trial.
        done: whether all results of the trial exist and are up to date.
        error: the error of an earlier run, or None.
        seconds: the measured duration if the trial is done, else an estimate; None if the size of
            the data is unknown.
    """

    name: str
    done: bool
    error: str | None
    seconds: float | None


@dataclass(frozen=True)
class Plan:
    """The state of all trials of a grid.

    Attributes:
        trials: trials in the order of the grid.
        missing_data: settings whose data will be made.
        device: device on which the estimates were measured.
        threads: number of threads with which the estimates were measured.
    """

    trials: Sequence[PlannedTrial]
    missing_data: Sequence[str]
    device: str
    threads: int

    @property
    def seconds_left(self) -> float:
        """Return the estimated seconds of all trials that are not done, run one after the other.

        Trials without an estimate are not counted.
        """
        return sum(trial.seconds or 0 for trial in self.trials if not trial.done)


def plan(
    trials: Sequence[Trial],
    catalog: Catalog,
    parameters: Mapping[str, Any],
    outdated: Collection[str] = (),
) -> Plan:
    """Find the trials that are done, and estimate the others by timing a few steps.

    Nothing is saved.

    Args:
        trials: the trials to plan; each must have a recipe.
        catalog: catalog of the run.
        parameters: parameters of the run.
        outdated: names of catalog entries on disk that belong to other data.
    """
    device = choose_device(parameters["device"])
    speeds: dict[tuple[Any, ...], Speed] = {}
    planned = []
    with limited_threads(parameters["benchmark"]["threads"]) as threads:
        for trial in trials:
            outcome = load_or_none(catalog, f"{trial.name}.outcome") or {}
            names = [f"{trial.name}.{name}" for name in TRIAL_ENTRIES]
            done = all(name not in outdated and catalog.exists(name) for name in names)
            seconds = outcome["seconds"] if done else _estimate(trial, catalog, device, speeds)
            error = None if done else outcome.get("error")
            planned.append(PlannedTrial(trial.name, done, error, seconds))
    settings = dict.fromkeys(trial.setting for trial in trials)
    missing = [
        name
        for name in settings
        if f"{name}.images" in outdated or not catalog.exists(f"{name}.images")
    ]
    return Plan(planned, missing, str(device), threads)


def _estimate(
    trial: Trial, catalog: Catalog, device: torch.device, speeds: dict[tuple[Any, ...], Speed]
) -> float | None:
    """Return the estimated seconds of a trial; None if the size of its data is unknown.

    Trials that differ only in percent share one measurement, which is kept in `speeds`.
    """
    size = _set_size(trial, catalog)
    if size is None or trial.recipe is None:
        return None
    recipe = trial.recipe
    key = (trial.dataset, trial.method, recipe["network"], recipe["batch_size"], recipe["steps"])
    if key not in speeds:
        speeds[key] = measure(recipe, size, trial.seeds, device, trial.precision)
    return speeds[key].seconds(recipe, size)


def _set_size(trial: Trial, catalog: Catalog) -> SetSize | None:
    """Return the size of the trial's data set, or None if it is unknown before it is made."""
    card = load_or_none(catalog, f"{trial.setting}.data_card")
    if not isinstance(card, dict):
        return get_dataset(trial.dataset).size
    images = {split: card["splits"][split]["images"] for split in ("train", "valid", "test")}
    height, width, _ = card["image_shape"]
    return SetSize(**images, height=height, width=width, classes=len(card["label_names"]))


def plan_table(plan: Plan) -> Group:
    """Return a table of the trials with a summary below it."""
    table = plain_table(gap=2)
    table.add_column("Trial", overflow="fold")
    table.add_column("State", overflow="fold")
    table.add_column("Time", justify="right", no_wrap=True)
    for trial in plan.trials:
        state = "done" if trial.done else f"failed: {trial.error}" if trial.error else "to do"
        about = "" if trial.done or trial.seconds is None else "about "
        table.add_row(Text(trial.name), Text(state), about + duration(trial.seconds))
    return Group(table, Text("\n".join(_summary(plan))))


def _summary(plan: Plan) -> list[str]:
    left = [trial for trial in plan.trials if not trial.done]
    done = len(plan.trials) - len(left)
    progress = f"{counted(len(plan.trials), 'trial')}: {done} done, {len(left)} to do."
    if not left:
        return [progress]
    unknown = [trial.name for trial in left if trial.seconds is None]
    sentences = [
        f"{progress} Time left with --only-missing-outputs: about {duration(plan.seconds_left)}, "
        "if trials run one after the other.",
        "Estimated from a few timed steps per method and network on random images, on "
        f"{plan.device} with {counted(plan.threads, 'thread')}; the time to make data is not "
        "included.",
    ]
    if plan.missing_data:
        sentences.append(f"Data to be made: {', '.join(plan.missing_data)}.")
    if unknown:
        sentences.append(
            f"No estimate for {', '.join(unknown)}: the size of the data is unknown until it is "
            "made."
        )
    return sentences
