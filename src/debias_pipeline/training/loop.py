"""The training loop: the same for every method, every data set, any number of seeds."""

import copy
import logging
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from debias_pipeline.errors import RecipeError, UserError
from debias_pipeline.evaluation import ImageData, Predictions, accuracies, predict
from debias_pipeline.evaluation.predict import mixed_precision
from debias_pipeline.evaluation.selection import Selections
from debias_pipeline.methods import (
    Batch,
    Losses,
    Method,
    Optimiser,
    Recipe,
    Run,
    Stage,
    Update,
    check_shape,
)
from debias_pipeline.selection_rules import LAST
from debias_pipeline.stopping import Stopped, StopRequest, stopping_on_request
from debias_pipeline.training.batches import BatchStream
from debias_pipeline.training.checkpoint import BestCheckpoints, Kept
from debias_pipeline.training.device import prepared
from debias_pipeline.training.run import TrainingServices
from debias_pipeline.training.snapshot import Snapshot, Snapshots
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

        steps = sum(each.steps for each in self.stages)
        for replica in range(self.method.task.replicas):
            self.best.keep(LAST.key, replica, steps)
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

    def _begin(self, position: int) -> "_RunningStage":
        self.method.train()
        return _RunningStage(self.method, self.recipe, self.data, self.services, position)

    def _is_over(self, stage: "_RunningStage") -> bool:
        return stage.position == len(self.stages) - 1 and stage.step == stage.spec.steps

    def _evaluate(self, stage: "_RunningStage") -> None:
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

    def _stop(self, stage: "_RunningStage", signal_number: int) -> None:
        steps = sum(each.steps for each in self.stages)
        message = f"Stopped after step {stage.steps_made} of {steps} of {self.method.name}"
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

    def _save_snapshot(self, stage: "_RunningStage") -> bool:
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
            self.method.name, metadata["steps_made"], sum(each.steps for each in self.stages),
        )  # fmt: skip
        return position

    def _restore_stage(self, stage: "_RunningStage", snapshot: Snapshot) -> None:
        _load_tensors(self.method, _part(snapshot, "method"), strict=True)
        for name, state in _part(snapshot, "random").items():
            purpose, _, replica = name.rpartition("/")
            self.method.random_stream(purpose)[int(replica)].set_state(state)
        stage.load_state_dict(_part(snapshot, "stage"), snapshot.metadata["stage"])


class _RunningStage:
    """A stage with its batches, its optimisers and the window since the last evaluation.

    Attributes:
        spec: what the method says of the stage.
        position: of the stage among all stages.
        step: number of steps of the stage made so far.
    """

    def __init__(
        self, method: Method, recipe: Recipe, data: ImageData, services: Run, position: int
    ) -> None:
        stages = method.stages()
        self.spec, self.position, self.step = stages[position], position, 0
        self._steps_before = sum(each.steps for each in stages[:position])
        self._method, self._device = method, data.device
        self._plan = method.begin(self.spec, services)
        self._batches: list[Batch] = []
        self._streams = [
            BatchStream(
                data, method.task.seeds, sampling, recipe.transform, self._stream_name(number)
            )
            for number, sampling in enumerate(self._plan.streams)
        ]
        self._parameters = {
            name: [each for module in optimiser.modules for each in module.parameters()]
            for name, optimiser in self._plan.optimisers.items()
        }
        trained = {each for parameters in self._parameters.values() for each in parameters}
        for parameter in method.parameters():
            parameter.requires_grad_(parameter in trained)
        self._optimisers = {
            name: _build_optimiser(optimiser, self._parameters[name])
            for name, optimiser in self._plan.optimisers.items()
        }
        is_last = position == len(stages) - 1
        self.window = Window(method, data, recipe, self.spec, keep_weights=is_last)

    @property
    def steps_made(self) -> int:
        """Number of steps made so far, all stages together."""
        return self._steps_before + self.step

    def learning_rate(self) -> float:
        """Return the learning rate of the last step, that of the first optimiser."""
        first = next(iter(self._plan.optimisers.values()))
        return first.learning_rate(self.step - 1)

    def train_step(self, precision: str) -> None:
        """Make the updates of one step."""
        for name, optimiser in self._optimisers.items():
            _set_learning_rate(optimiser, self._plan.optimisers[name].learning_rate(self.step))
        # Freed only now, as `rehearse` needs them.
        self._batches = []
        self._batches = [stream.next() for stream in self._streams]
        updates = self._updates(self._method, self.step, precision)
        for number, update in enumerate(updates):
            self.window.add(self.step, number, update.losses, self._batches[0].index)
            self._update_parameters(update.losses.total, update.optimisers)
        self.step += 1

    def _updates(self, method: Method, step: int, precision: str) -> Iterator[Update]:
        """Yield the updates of one step on the present batches."""
        updates = method.updates(self._batches, step)
        while True:
            # What is done with an update is not computed with mixed precision.
            with mixed_precision(self._device, precision):
                update = next(updates, None)
            if update is None:
                return
            yield update

    def _update_parameters(self, total: Tensor, names: Sequence[str]) -> None:
        parameters = [each for name in names for each in self._parameters[name]]
        for parameter in parameters:
            parameter.grad = None
        # Without `inputs` where they are all: naming them takes time.
        inputs = None if len(names) == len(self._optimisers) else parameters
        torch.autograd.backward(total, torch.ones_like(total), inputs=inputs)
        for name in names:
            self._optimisers[name].step()

    def rehearse(self, precision: str) -> list[Tensor]:
        """Return what a step computes now and at the end of the stage, changing nothing.

        Args:
            precision: fp32 or bf16.

        Returns:
            Losses, gradients and buffers of a copy of the method, for the batches of the last step.
        """
        computed: list[Tensor] = []
        for step in (self.step, self.spec.steps - 1):
            method = copy.deepcopy(self._method)
            method.zero_grad()
            for update in self._updates(method, step, precision):
                total = update.losses.total
                torch.autograd.backward(total, torch.ones_like(total))
                computed.append(total.detach())
            computed += [each.grad for each in method.parameters() if each.grad is not None]
            computed += method.buffers()
        return computed

    def state_dict(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return tensors and plain JSON values from which the stage can be continued."""
        tensors = {
            f"augmentation/{number}/{replica}": generator.get_state()
            for number, stream in enumerate(self._streams)
            for replica, generator in enumerate(stream.augmenters)
        }
        for name, optimiser in self._optimisers.items():
            for index, state in optimiser.state_dict()["state"].items():
                for key, value in state.items():
                    if value is not None:
                        tensors[f"optimiser/{name}/{index}/{key}"] = value
        window_tensors, window = self.window.state_dict()
        tensors |= {f"window/{name}": each for name, each in window_tensors.items()}
        return tensors, {"step": self.step, "window": window}

    @torch.no_grad()
    def load_state_dict(self, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        self.step = state["step"]
        for number, stream in enumerate(self._streams):
            stream.skip(self.step)
            for replica, generator in enumerate(stream.augmenters):
                generator.set_state(tensors[f"augmentation/{number}/{replica}"])
        for name, optimiser in self._optimisers.items():
            saved: dict[int, dict[str, Tensor]] = defaultdict(dict)
            for key, tensor in _below(f"optimiser/{name}/", tensors).items():
                index, _, field = key.partition("/")
                parameter = self._parameters[name][int(index)]
                if tensor.shape == parameter.shape:
                    # Fused optimisers take the state to lie in memory as the parameter does.
                    tensor = torch.empty_like(parameter).copy_(tensor)
                saved[int(index)][field] = tensor
            optimiser.load_state_dict({**optimiser.state_dict(), "state": dict(saved)})
        self.window.load_state_dict(_below("window/", tensors), state["window"])

    def _stream_name(self, number: int) -> str:
        """Name the random streams; those of a method with one stage and stream need no name."""
        stage = self.spec.name if self.position else ""
        return f"{stage} {number}".strip() if number else stage


def _build_optimiser(
    optimiser: Optimiser, parameters: Sequence[nn.Parameter]
) -> torch.optim.Optimizer:
    rate, decay = optimiser.learning_rate(0), optimiser.weight_decay
    if optimiser.kind == "sgd":
        return torch.optim.SGD(
            parameters, lr=rate, momentum=optimiser.momentum, weight_decay=decay, fused=True
        )
    return torch.optim.Adam(parameters, lr=rate, weight_decay=decay, fused=True)


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
    return _below(f"{name}/", snapshot.tensors)


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }


def empty_sample_weights() -> pd.DataFrame:
    """The catalog's `sample_weights` where nothing is known of any image."""
    return pd.DataFrame(
        {
            "image_id": pd.array([], dtype="int64"),
            "seed": pd.array([], dtype="int64"),
            "weight": pd.array([], dtype="float32"),
            "loss_average_intrinsic": pd.array([], dtype="float32"),
            "loss_average_bias": pd.array([], dtype="float32"),
            "conflicting": pd.array([], dtype="boolean"),
        }
    )


def check_losses(method: str, losses: Losses, drawn: tuple[int, ...]) -> None:
    """Refuse losses that PyTorch would put up with, and train something else by.

    Args:
        method: its name.
        losses: of a step.
        drawn: R, B.

    Raises:
        UserError: naming what is not as `Losses` says.
    """
    shapes = {"total": (losses.total, drawn[:1], "a loss per seed")}
    shapes |= {
        f"terms['{name}']": (each, drawn[:1], "a loss per seed")
        for name, each in losses.terms.items()
    }
    if losses.weights is not None:
        shapes["weights"] = (losses.weights, drawn, "a weight per seed and image")
    for name, (tensor, shape, meaning) in shapes.items():
        check_shape(f"{method}: {name} of its losses has", tensor, shape, meaning)
    if not losses.total.requires_grad:
        raise UserError(f"{method}: total of its losses is detached, so that nothing can learn")
    for name, term in losses.terms.items():
        if term.requires_grad:
            raise UserError(f"{method}: terms['{name}'] of its losses has to be detached")
        if not name.startswith("loss"):
            raise UserError(
                f"{method}: terms['{name}'] of its losses has to be named loss…, as in loss_{name}"
            )


# The number of an update within its step, and its loss terms.
_Key: TypeAlias = tuple[int, tuple[str, ...]]


class Window:
    """Losses and sample weights between two evaluations, accumulated on the device."""

    def __init__(
        self,
        method: Method,
        data: ImageData,
        recipe: Recipe,
        stage: Stage,
        *,
        keep_weights: bool = True,
    ) -> None:
        """Set up the first window.

        Args:
            method: being trained.
            data: being trained on.
            recipe: says when to evaluate.
            stage: being trained.
            keep_weights: whether `sample_weights` is of this stage's last window.
        """
        self._method, self._train, self._recipe = method, data.splits["train"], recipe
        self._stage, self._keep_weights = stage, keep_weights
        self._final_weights: Tensor | None = None
        shape = (method.task.replicas, len(self._train))
        self._weight_sums = torch.zeros(shape, device=data.device)
        self._visits = torch.zeros(shape, device=data.device)
        # One table for each set of terms that steps have had: many small tensors that live as long
        # as the window would scatter over the heap, and keep it from being used again.
        self._tables: dict[_Key, Tensor] = {}
        self.open(0)

    def open(self, done: int) -> None:
        """Start a new window after `done` steps of the stage."""
        self._steps: dict[_Key, list[int]] = defaultdict(list)
        left = self._stage.steps - done
        self._is_last = self._keep_weights and left <= self._recipe.eval_every
        self._size = min(self._recipe.eval_every, max(left, 1))
        self._first, self._seconds_before = done, 0.0
        self._opened = time.perf_counter()

    def add(self, step: int, update: int, losses: Losses, index: Tensor) -> None:
        """Add the losses of one update.

        Args:
            step: number of steps of the stage made before this one.
            update: number of updates of this step made before this one.
            losses: of the update.
            index: [R, B], positions of the batch's images in the training split.
        """
        terms = {"loss": losses.total.detach(), **losses.terms}
        key = (update, tuple(terms))
        if key not in self._tables:
            check_losses(self._method.name, losses, tuple(index.shape))
            self._new_table(key)
        torch.stack(list(terms.values()), out=self._tables[key][len(self._steps[key])])
        self._steps[key].append(step)
        # `sample_weights` is of the last window.
        if self._is_last and losses.weights is not None:
            self._weight_sums.scatter_add_(1, index, losses.weights.detach())
            self._visits.scatter_add_(1, index, torch.ones_like(losses.weights))

    def close(self) -> dict[str, Any]:
        """Means of the window's loss terms, [R] each, and the speed.

        Raises:
            RecipeError: if a loss of the window was not finite.
        """
        terms, steps_of = self._read_back()
        self._check_finite(terms, steps_of)
        seconds = time.perf_counter() - self._opened
        seconds += self._seconds_before
        steps = 1 + max(at[-1] for at in self._steps.values()) - self._first
        replicas = self._method.task.replicas
        means: dict[str, Any] = {name: values.mean(0).tolist() for name, values in terms.items()}
        means["images_per_second"] = [steps * self._recipe.batch_size / seconds] * replicas
        if self._is_last:
            self._final_weights = self._mean_weights()
        return means

    def _read_back(self) -> tuple[dict[str, Tensor], dict[str, list[int]]]:
        """Each term's values, [steps, R], and the steps that they are of."""
        values: dict[str, list[Tensor]] = defaultdict(list)
        steps: dict[str, list[int]] = defaultdict(list)
        for key, at in self._steps.items():
            table = self._tables[key][: len(at)].cpu()
            for name, column in zip(key[1], table.unbind(1), strict=True):
                values[name].append(column)
                steps[name].extend(at)
        return {name: torch.cat(each) for name, each in values.items()}, steps

    def _new_table(self, key: _Key) -> None:
        shape = (self._size, len(key[1]), self._method.task.replicas)
        self._tables[key] = self._weight_sums.new_empty(shape)

    def state_dict(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return tensors and plain JSON values from which the window can be continued."""
        tensors, tables = {}, []
        for number, (key, at) in enumerate(self._steps.items()):
            tensors[f"table/{number}"] = self._tables[key][: len(at)]
            tables.append({"update": key[0], "terms": list(key[1]), "steps": at})
        if self._is_last:
            tensors |= {"weight_sums": self._weight_sums, "visits": self._visits}
        if self._final_weights is not None:
            tensors["final_weights"] = self._final_weights
        seconds = self._seconds_before + time.perf_counter() - self._opened
        return tensors, {"first": self._first, "tables": tables, "seconds": seconds}

    def load_state_dict(self, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        self.open(state["first"])
        self._seconds_before = state["seconds"]
        for number, table in enumerate(state["tables"]):
            key = (table["update"], tuple(table["terms"]))
            self._new_table(key)
            self._tables[key][: len(table["steps"])] = tensors[f"table/{number}"]
            self._steps[key] = list(table["steps"])
        if self._is_last:
            self._weight_sums.copy_(tensors["weight_sums"])
            self._visits.copy_(tensors["visits"])
        self._final_weights = tensors.get("final_weights")

    def sample_weights(self) -> pd.DataFrame:
        """One row per training image and seed; columns as in the catalog's contract."""
        conflicting = pd.array(self._train.conflicting == 1, dtype="boolean")
        conflicting[self._train.conflicting < 0] = pd.NA
        averages = {name: each.cpu().numpy() for name, each in self._method.image_losses().items()}
        weights = self._mean_weights() if self._final_weights is None else self._final_weights
        tables = []
        for replica, seed in enumerate(self._method.task.seeds):
            table = pd.DataFrame({"image_id": self._train.image_ids, "seed": seed})
            table["weight"] = weights[replica].numpy()
            for name in dict.fromkeys(("intrinsic", "bias", *averages)):
                table[f"loss_average_{name}"] = (
                    averages[name][replica] if name in averages else np.float32("nan")
                )
            table["conflicting"] = conflicting
            tables.append(table)
        return pd.concat(tables, ignore_index=True)

    def _mean_weights(self) -> Tensor:
        """Mean W of each image over the window; what it would get now where it was not drawn."""
        now = self._method.image_weights()
        if now is None:
            now = torch.full_like(self._visits, float("nan"))
        means = torch.where(self._visits > 0, self._weight_sums / self._visits, now)
        return means.cpu()

    def _check_finite(
        self, terms: Mapping[str, Tensor], steps: Mapping[str, Sequence[int]]
    ) -> None:
        bad = [
            (steps[name][int(row)], name, int(replica))
            for name, values in terms.items()
            for row, replica in torch.nonzero(~values.isfinite())[:1]
        ]
        if not bad:
            return
        step, name, replica = min(bad, key=lambda each: (each[0], each[1] == "loss"))
        raise RecipeError(
            f"{name} is not finite at step {step} (seed {self._method.task.seeds[replica]}): "
            "training stopped; try a smaller {recipe}.lr"
        )


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


def _set_learning_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    for group in optimiser.param_groups:
        group["lr"] = rate
