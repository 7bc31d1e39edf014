"""The training loop: the same for every method, every data set and any number of seeds."""

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pandas as pd
import torch

from debias_pipeline.evaluation import (
    FeatureUnits,
    Predictions,
    Selections,
    accuracies,
    predict,
)
from debias_pipeline.images import ImageData
from debias_pipeline.methods import Method, Recipe
from debias_pipeline.names import DEAD_UNITS
from debias_pipeline.records import ImagePasses
from debias_pipeline.selection_rules import Flags
from debias_pipeline.stopping import Stopped, StopRequest, stopping_on_request
from debias_pipeline.training.checkpoint import BestCheckpoints, SeedCheckpoint
from debias_pipeline.training.device import prepared
from debias_pipeline.training.run import TrainingServices
from debias_pipeline.training.snapshot import Snapshot, Snapshots
from debias_pipeline.training.stage import RunningStage
from debias_pipeline.training.state import RunState
from debias_pipeline.training.threads import TrainingThreads, limited_threads

logger = logging.getLogger(__name__)


class Listener(Protocol):
    """Callbacks of a training run."""

    def on_resume(self, step: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """Called once if an interrupted run is resumed.

        Args:
            step: number of steps made before, all stages together.
            rows: all rows of the history so far.
        """

    def on_step(self) -> None:
        """Called after each step."""

    def on_evaluation(self, step: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """Called after each evaluation.

        Args:
            step: number of steps made so far, all stages together.
            rows: the new rows of the history.
        """


@dataclass(frozen=True)
class TrainingRun:
    """The results of training.

    Attributes:
        checkpoints: selection rule → the checkpoint of each seed; empty if the rule did not select
            a step for every seed.
        history: a row per evaluation step and seed.
        sample_weights: a row per training image and seed.
        pseudo_aligned: bool, [R, validation images], see `Selections.pseudo_aligned`.
        support: selection rule → number of conflicting validation images that it rests on, by
            seed; see `Selections.support`.
        dead_units: selection rule → share of dead feature units of each checkpoint, see
            `FeatureUnits`; without rules of which it is not known.
        image_passes: images that passed through networks, see `Cost`; None if it is not known.
        seconds_before: seconds of training before the run was resumed; 0 if it was not.
    """

    checkpoints: Mapping[str, Sequence[SeedCheckpoint]]
    history: pd.DataFrame
    sample_weights: pd.DataFrame
    pseudo_aligned: Flags
    support: Mapping[str, Sequence[int]]
    dead_units: Mapping[str, Sequence[float]]
    image_passes: ImagePasses | None
    seconds_before: float


def train(
    method: Method,
    recipe: Recipe,
    data: ImageData,
    *,
    headline: str = "accuracy",
    precision: str = "fp32",
    listeners: Iterable[Listener] = (),
    snapshots: Snapshots | None = None,
    threads: TrainingThreads | None = None,
) -> TrainingRun:
    """Train all replicas of a method together.

    Nothing is read back from the device between two evaluations.

    Args:
        method: untrained networks, on the data's device.
        recipe: hyper-parameters.
        data: images and splits.
        headline: the test metric that the rule `best_on_test` maximises.
        precision: fp32 or bf16 (autocast; parameters and averages stay float32).
        listeners: called after steps and evaluations.
        snapshots: finds the snapshot to resume from and saves new ones; None trains from the start
            and saves nothing.
        threads: chooses the number of threads of each step; None keeps that of the process.

    Raises:
        UserError: if a loss is not finite, or if a tensor that the method returns has a wrong
            shape.
        Stopped: if SIGINT or SIGTERM arrived; a snapshot is saved first.
    """
    threads = threads or TrainingThreads(torch.get_num_threads(), data.device)
    trainer = _Trainer(
        method, recipe, data, headline, precision, list(listeners), snapshots, threads
    )
    with (
        limited_threads(threads.most),
        prepared(data.device),
        stopping_on_request() as request,
        trainer.state.cost.counting(method),
    ):
        return trainer.run(request)


class _Trainer:
    """Train stage after stage, step after step, with evaluations and snapshots in between."""

    def __init__(
        self,
        method: Method,
        recipe: Recipe,
        data: ImageData,
        headline: str,
        precision: str,
        listeners: Sequence[Listener],
        snapshots: Snapshots | None,
        threads: TrainingThreads,
    ) -> None:
        self.method, self.recipe, self.data, self.precision = method, recipe, data, precision
        self.listeners, self.snapshots = listeners, snapshots
        self.services = TrainingServices(method, data, precision)
        self.stages = method.stages()
        self.steps = sum(each.steps for each in self.stages)
        self.state = RunState(
            method,
            BestCheckpoints(method),
            Selections(method.task.replicas, data.splits["valid"], headline),
            threads,
        )

    def run(self, request: StopRequest) -> TrainingRun:
        """Train from the start or from the latest snapshot."""
        snapshot = self.snapshots.latest() if self.snapshots else None
        first = self._resume(snapshot) if snapshot else 0
        for position in range(first, len(self.stages)):
            self.method.train()
            stage = RunningStage(self.method, self.recipe, self.data, self.services, position)
            if snapshot and position == first:
                self.state.restore_stage(stage, snapshot)
            while stage.step < stage.spec.steps:
                with self.state.threads.chosen_for(stage, self.precision):
                    stage.train_step(self.precision)
                self._after_step(stage, request)
            self.method.end(stage.spec, self.services)

        selections = self.state.selections
        checkpoints = self.state.best.finished(selections.available(), self.steps)
        history = _history_table(self.state.history)
        return TrainingRun(
            checkpoints,
            history,
            stage.window.sample_weights(),
            selections.pseudo_aligned(),
            selections.support(),
            _dead_units(self.state.history, self.method.task.seeds, checkpoints),
            self.state.cost.image_passes(),
            self.state.cost.seconds_before(),
        )

    def _after_step(self, stage: RunningStage, request: StopRequest) -> None:
        """Call back, evaluate, save a snapshot or stop, if it is time to."""
        for listener in self.listeners:
            listener.on_step()
        if stage.spec.every and stage.step % stage.spec.every == 0:
            self.method.on_interval(stage.spec, stage.step, self.services)
        is_evaluation_step = (
            stage.step % self.recipe.eval_every == 0 or stage.step == stage.spec.steps
        )
        if is_evaluation_step:
            self._evaluate(stage)
        if request.signal_number is not None:
            self._stop(stage, request.signal_number)
        is_last_step = stage.steps_made == self.steps
        if is_evaluation_step and not is_last_step and self.snapshots and self.snapshots.due():
            self.snapshots.save(stage.steps_made, *self.state.to_snapshot(stage))

    def _evaluate(self, stage: RunningStage) -> None:
        """Add rows to the history and update checkpoints, and start a new window of losses."""
        means = stage.window.close()
        if stage.spec.evaluated:
            with self.state.cost.paused():
                rows, predictions = _evaluate(self.method, self.data, self.precision)
            selected = self.state.selections.observe(stage.steps_made, rows, predictions)
            self.state.best.update(selected, stage.steps_made)
            for replica, row in enumerate(rows):
                row.update(
                    step=stage.steps_made,
                    seed=self.method.task.seeds[replica],
                    learning_rate=stage.learning_rate(),
                )
                row.update({name: values[replica] for name, values in means.items()})
            self.state.history.extend(rows)
            for listener in self.listeners:
                listener.on_evaluation(stage.steps_made, rows)
        stage.window.open(stage.step)

    def _stop(self, stage: RunningStage, signal_number: int) -> None:
        message = f"Stopped after step {stage.steps_made} of {self.steps} of {self.method.name}"
        if self.snapshots is None:
            raise Stopped(signal_number, f"{message}; nothing of this training is saved.")
        if not self.snapshots.save(stage.steps_made, *self.state.to_snapshot(stage)):
            raise Stopped(
                signal_number,
                f"{message}; its snapshot could not be written. The same command resumes from an "
                "earlier snapshot if there is one, and starts again otherwise.",
            )
        raise Stopped(
            signal_number,
            f"{message}; a snapshot is saved. Type the same command again to continue from it.",
        )

    def _resume(self, snapshot: Snapshot) -> int:
        """Restore all but the interrupted stage; return the position of that stage."""
        position = self.state.restore(snapshot, self.services)
        step = snapshot.metadata["steps_made"]
        for listener in self.listeners:
            listener.on_resume(step, self.state.history)
        logger.info(
            "%s continues after step %d of %d, from a snapshot", self.method.name, step, self.steps
        )
        return position


def _evaluate(
    method: Method, data: ImageData, precision: str
) -> tuple[list[dict[str, Any]], Predictions]:
    """Return metrics of the validation and test splits, and predictions of the former."""
    rows: list[dict[str, Any]] = [{} for _ in range(method.task.replicas)]
    units = FeatureUnits(method)
    with units.watching():
        predictions = {"valid": predict(method, data, "valid", precision)}
    # A search of hyper-parameters has no test split.
    if "test" in data.splits:
        predictions["test"] = predict(method, data, "test", precision)
    for split, predicted in predictions.items():
        for name, values in accuracies(predicted, data.splits[split]).items():
            for row, value in zip(rows, values, strict=True):
                row[f"{split}_{name}"] = float(value)
    for row, share in zip(rows, units.dead_share(), strict=True):
        row[DEAD_UNITS] = float(share)
    return rows, predictions["valid"]


def _dead_units(
    history: Sequence[Mapping[str, Any]],
    seeds: Sequence[int],
    checkpoints: Mapping[str, Sequence[SeedCheckpoint]],
) -> dict[str, list[float]]:
    # Rows of snapshots of earlier versions lack the entry.
    known = {(row["seed"], row["step"]): row.get(DEAD_UNITS, math.nan) for row in history}
    found = {
        rule: [known[seed, each.step] for seed, each in zip(seeds, kept, strict=True)]
        for rule, kept in checkpoints.items()
        if kept
    }
    return {rule: shares for rule, shares in found.items() if not any(map(math.isnan, shares))}


def _history_table(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    table = pd.DataFrame(rows)
    losses = [name for name in table.columns if name.startswith("loss")]
    accuracy = [name for name in table.columns if name.startswith(("valid_", "test_"))]
    first = ["step", "seed", *losses, "learning_rate"]
    dead_units = [DEAD_UNITS] if DEAD_UNITS in table else []
    return table[[*first, *accuracy, *dead_units, "images_per_second"]]
