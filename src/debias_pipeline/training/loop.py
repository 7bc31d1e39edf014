"""The training loop: the same for every method, every data set, any number of seeds."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pandas as pd
import torch
from torch import Tensor

from debias_pipeline.evaluation import Predictions, accuracies, predict
from debias_pipeline.evaluation.selection import Selections
from debias_pipeline.images import ImageData
from debias_pipeline.methods import Method, Recipe
from debias_pipeline.selection_rules import LAST
from debias_pipeline.stopping import Stopped, StopRequest, stopping_on_request
from debias_pipeline.training.checkpoint import BestCheckpoints, Kept
from debias_pipeline.training.device import prepared
from debias_pipeline.training.run import TrainingServices
from debias_pipeline.training.snapshot import Snapshot, Snapshots
from debias_pipeline.training.stage import RunningStage, tensors_below
from debias_pipeline.training.threads import TrainingThreads, limited_threads

logger = logging.getLogger(__name__)


class Listener(Protocol):
    """Callbacks of a training run."""

    def on_resume(self, step: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """Called once if the run continues an interrupted one.

        Args:
            step: number of steps that are done already, all stages together.
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
    """What training leaves behind.

    Attributes:
        kept: selection rule → the networks of each seed; empty where the rule could not choose.
        history: a row per evaluation step and seed.
        sample_weights: a row per training image and seed.
        support: selection rule → the number of conflicting validation images that its choice
            rests on, by seed; see `Selections.support`.
    """

    kept: Mapping[str, Sequence[Kept]]
    history: pd.DataFrame
    sample_weights: pd.DataFrame
    support: Mapping[str, Sequence[int]]


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
        headline: the test metric that `best_on_test` goes by.
        precision: fp32 or bf16 (autocast; parameters and averages stay float32).
        listeners: called after steps and evaluations.
        snapshots: where an interrupted run is continued from, and what is saved for the next
            interruption; None trains from the start and saves nothing.
        threads: chooses the number of threads of each step; None keeps that of the process.

    Raises:
        UserError: if a loss is not finite, naming the term and the step, or if what a method
            gives is not of the shape that it promises.
        Stopped: if SIGINT or SIGTERM arrived; a snapshot is saved.
    """
    threads = threads or TrainingThreads(torch.get_num_threads(), data.device)
    trainer = _Trainer(
        method, recipe, data, headline, precision, list(listeners), snapshots, threads
    )
    with (
        limited_threads(threads.most),
        prepared(data.device),
        stopping_on_request() as request,
    ):
        return trainer.run(request)


class _Trainer:
    """Stage after stage, step after step, with evaluations and snapshots in between."""

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
        self.method, self.recipe, self.data = method, recipe, data
        self.headline, self.precision = headline, precision
        self.listeners, self.snapshots, self.threads = listeners, snapshots, threads
        self.services = TrainingServices(method, data, precision)
        self.stages = method.stages()
        self.steps = sum(each.steps for each in self.stages)
        replicas = method.task.replicas
        self.selections = Selections(replicas, data.splits["valid"], headline)
        self.best = BestCheckpoints(method)
        self.history: list[dict[str, Any]] = []

    def run(self, request: StopRequest) -> TrainingRun:
        """Train from the start or from the latest snapshot."""
        snapshot = self.snapshots.latest() if self.snapshots else None
        first = self._restore(snapshot) if snapshot else 0
        for position in range(first, len(self.stages)):
            stage = self._begin(position)
            if snapshot and position == first:
                self._restore_stage(stage, snapshot)
            while stage.step < stage.spec.steps:
                self.threads.run_step(stage, self.precision)
                for listener in self.listeners:
                    listener.on_step()
                if stage.spec.every and stage.step % stage.spec.every == 0:
                    self.method.on_interval(stage.spec, stage.step, self.services)
                due = stage.step % self.recipe.eval_every == 0 or stage.step == stage.spec.steps
                if due:
                    self._evaluate(stage)
                if request.signal_number is not None:
                    self._stop(stage, request.signal_number)
                if due and self.snapshots and self.snapshots.due() and not self._is_over(stage):
                    self._save_snapshot(stage)
            self.method.end(stage.spec, self.services)

        for replica in range(self.method.task.replicas):
            self.best.keep(LAST.key, replica, self.steps)
        available = self.selections.available()
        kept = {
            rule: [of_replica[replica] for replica in sorted(of_replica)]
            if rule in available
            else []
            for rule, of_replica in self.best.kept.items()
        }
        return TrainingRun(
            kept,
            _history_table(self.history),
            stage.window.sample_weights(),
            self.selections.support(),
        )

    def _begin(self, position: int) -> RunningStage:
        self.method.train()
        return RunningStage(self.method, self.recipe, self.data, self.services, position)

    def _is_over(self, stage: RunningStage) -> bool:
        return stage.position == len(self.stages) - 1 and stage.step == stage.spec.steps

    def _evaluate(self, stage: RunningStage) -> None:
        """Close the window of the last steps; evaluate if the stage is worth it."""
        means = stage.window.close()
        if stage.spec.evaluated:
            rows, predictions = _evaluate(self.method, self.data, self.precision)
            chosen = self.selections.observe(stage.steps_made, rows, predictions)
            for rule, replicas in chosen.items():
                for replica in replicas:
                    self.best.keep(rule, replica, stage.steps_made)
            for replica, row in enumerate(rows):
                row.update(
                    step=stage.steps_made,
                    seed=self.method.task.seeds[replica],
                    learning_rate=stage.learning_rate(),
                )
                row.update({name: values[replica] for name, values in means.items()})
            self.history.extend(rows)
            for listener in self.listeners:
                listener.on_evaluation(stage.steps_made, rows)
        stage.window.open(stage.step)

    def _stop(self, stage: RunningStage, signal_number: int) -> None:
        message = f"Stopped after step {stage.steps_made} of {self.steps} of {self.method.name}"
        if self.snapshots is None:
            raise Stopped(signal_number, f"{message}; nothing of this training is saved.")
        if not self._save_snapshot(stage):
            raise Stopped(
                signal_number,
                f"{message}; its snapshot could not be written. The same command continues from "
                "an earlier snapshot if there is one, and else starts over.",
            )
        raise Stopped(
            signal_number,
            f"{message}; a snapshot is saved. Type the same command again to continue from it.",
        )

    def _save_snapshot(self, stage: RunningStage) -> bool:
        if self.snapshots is None:
            return False
        best_tensors, best_rows = self.best.state_dict()
        selection_tensors, selection_rows = self.selections.state_dict()
        stage_tensors, stage_state = stage.state_dict()
        parts = {
            "method": _tensors_of(self.method),
            "random": {
                f"{purpose}/{replica}": generator.get_state()
                for purpose, stream in self.method.random_streams.items()
                for replica, generator in enumerate(stream)
            },
            "best": best_tensors,
            "selection": selection_tensors,
            "stage": stage_tensors,
        }
        tensors = {
            f"{part}/{name}": each for part, named in parts.items() for name, each in named.items()
        }
        metadata = {
            "position": stage.position,
            "steps_made": stage.steps_made,
            "stage": stage_state,
            "best": best_rows,
            "selection": selection_rows,
            "history": self.history,
            "threads": self.threads.state_dict(),
        }
        return self.snapshots.save(stage.steps_made, tensors, metadata)

    def _restore(self, snapshot: Snapshot) -> int:
        """Restore all but the interrupted stage; return the position of that stage."""
        metadata = snapshot.metadata
        position: int = metadata["position"]
        # Begun again in order, as a stage may create buffers of the size of the data.
        for each in self.stages[:position]:
            self.method.begin(each, self.services)
            _load_tensors(self.method, _part(snapshot, "method"), strict=False)
        self.best.load_state_dict(_part(snapshot, "best"), metadata["best"])
        self.selections.load_state_dict(_part(snapshot, "selection"), metadata["selection"])
        self.history = [dict(row) for row in metadata["history"]]
        self.threads.load_state_dict(metadata["threads"])
        for listener in self.listeners:
            listener.on_resume(metadata["steps_made"], self.history)
        logger.info(
            "%s continues after step %d of %d, from a snapshot",
            self.method.name, metadata["steps_made"], self.steps,
        )  # fmt: skip
        return position

    def _restore_stage(self, stage: RunningStage, snapshot: Snapshot) -> None:
        _load_tensors(self.method, _part(snapshot, "method"), strict=True)
        for name, state in _part(snapshot, "random").items():
            purpose, _, replica = name.rpartition("/")
            self.method.random_stream(purpose)[int(replica)].set_state(state)
        stage.load_state_dict(_part(snapshot, "stage"), snapshot.metadata["stage"])


def _tensors_of(method: Method) -> dict[str, Tensor]:
    """Return all parameters and buffers, also those that are not part of a checkpoint."""
    return {**dict(method.named_parameters()), **dict(method.named_buffers())}


@torch.no_grad()
def _load_tensors(method: Method, saved: Mapping[str, Tensor], *, strict: bool) -> None:
    own = _tensors_of(method)
    if strict and own.keys() != saved.keys():
        raise RuntimeError(
            f"{method.name} cannot be resumed: {sorted(own.keys() ^ saved.keys())} are not the "
            "same in the snapshot; create all parameters and buffers in __init__ or begin"
        )
    for name, tensor in saved.items():
        if name in own and own[name].shape == tensor.shape:
            own[name].copy_(tensor)
        elif strict:
            raise RuntimeError(f"{method.name} cannot be resumed: the shape of {name} has changed")


def _part(snapshot: Snapshot, name: str) -> dict[str, Tensor]:
    return tensors_below(f"{name}/", snapshot.tensors)


def _evaluate(
    method: Method, data: ImageData, precision: str
) -> tuple[list[dict[str, Any]], Predictions]:
    """Return accuracies on the validation and test splits, and predictions of the former."""
    rows: list[dict[str, Any]] = [{} for _ in range(method.task.replicas)]
    predictions = {split: predict(method, data, split, precision) for split in ("valid", "test")}
    for split, predicted in predictions.items():
        for name, values in accuracies(predicted, data.splits[split]).items():
            for row, value in zip(rows, values, strict=True):
                row[f"{split}_{name}"] = float(value)
    return rows, predictions["valid"]


def _history_table(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    table = pd.DataFrame(rows)
    losses = [name for name in table.columns if name.startswith("loss")]
    accuracy = [name for name in table.columns if name.startswith(("valid_", "test_"))]
    first = ["step", "seed", *losses, "learning_rate"]
    return table[[*first, *accuracy, "images_per_second"]]
