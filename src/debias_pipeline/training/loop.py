"""The training loop: the same for every method, every data set, any number of seeds."""

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from debias_pipeline.errors import RecipeError, UserError
from debias_pipeline.evaluation import (
    CHECKPOINT_CHOICES,
    ImageData,
    accuracies,
    harmonic_mean,
    predict,
)
from debias_pipeline.evaluation.predict import mixed_precision
from debias_pipeline.methods import Losses, Method, Recipe, check_shape
from debias_pipeline.training.batches import BatchStream
from debias_pipeline.training.checkpoint import Keeper, Kept
from debias_pipeline.training.device import prepared


class Listener(Protocol):
    """Hears of a training run as it goes on."""

    def on_step(self) -> None:
        """One step more is done."""

    def on_evaluation(self, step: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """`step` steps are done and evaluated; `rows` are new rows of the history."""


@dataclass(frozen=True)
class TrainingRun:
    """What training leaves behind.

    Attributes:
        kept: checkpoint choice → the networks of each seed; empty where the choice could
            not be made.
        history: a row per evaluation step and seed.
        sample_weights: a row per training image and seed.
    """

    kept: Mapping[str, Sequence[Kept]]
    history: pd.DataFrame
    sample_weights: pd.DataFrame


def train(
    method: Method,
    recipe: Recipe,
    data: ImageData,
    *,
    headline: str = "accuracy",
    precision: str = "fp32",
    listeners: Iterable[Listener] = (),
) -> TrainingRun:
    """Train all replicas of a method together.

    Nothing is read back from the device between two evaluations.

    Args:
        method: untrained networks, on the data's device.
        recipe: hyper-parameters.
        data: images and splits.
        headline: the test metric that `best_on_test` goes by.
        precision: fp32 or bf16 (autocast; parameters and averages stay float32).
        listeners: told of steps and evaluations.

    Raises:
        UserError: if a loss is not finite, naming the term and the step, or if what a method
            gives is not of the shape that it promises.
    """
    with prepared(data.device):
        return _train(method, recipe, data, headline, precision, list(listeners))


def _train(
    method: Method,
    recipe: Recipe,
    data: ImageData,
    headline: str,
    precision: str,
    listeners: Sequence[Listener],
) -> TrainingRun:
    seeds = method.task.seeds
    method.begin_training(torch.tensor(data.splits["train"].labels))
    batches = BatchStream(data, seeds, recipe.batch_size, recipe.transform)
    parameters = list(method.parameters())
    optimiser = torch.optim.Adam(parameters, lr=recipe.lr, fused=True)
    window = Window(method, data, recipe)
    keeper = Keeper(method)
    history: list[dict[str, Any]] = []
    method.train()
    for step in range(recipe.steps):
        _set_learning_rate(optimiser, recipe.learning_rate(step))
        batch = batches.next()
        with mixed_precision(data.device, precision):
            losses = method.losses(batch, step)
        window.add(step, losses, batch.index)
        for parameter in parameters:
            parameter.grad = None
        torch.autograd.backward(losses.total, torch.ones_like(losses.total))
        optimiser.step()
        for listener in listeners:
            listener.on_step()

        done = step + 1
        if done % recipe.eval_every and done < recipe.steps:
            continue
        means = window.close()
        rows = _evaluate(method, data, precision)
        for replica, row in enumerate(rows):
            _offer(keeper, replica, done, row, headline)
            row.update(step=done, seed=seeds[replica], learning_rate=recipe.learning_rate(step))
            row.update({name: values[replica] for name, values in means.items()})
        history.extend(rows)
        for listener in listeners:
            listener.on_evaluation(done, rows)
        window.open(done)

    for replica in range(len(seeds)):
        keeper.offer("last", replica, recipe.steps, score=recipe.steps)
    kept = {
        choice: [keeper.kept[choice][replica] for replica in sorted(keeper.kept[choice])]
        for choice in CHECKPOINT_CHOICES
    }
    return TrainingRun(kept, _history_table(history), window.sample_weights())


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


class Window:
    """What happens between two evaluations, gathered on the device."""

    def __init__(self, method: Method, data: ImageData, recipe: Recipe) -> None:
        """Set up the first window.

        Args:
            method: being trained.
            data: being trained on.
            recipe: says when to evaluate.
        """
        self._method, self._train, self._recipe = method, data.splits["train"], recipe
        shape = (method.task.replicas, len(self._train))
        self._weight_sums = torch.zeros(shape, device=data.device)
        self._visits = torch.zeros(shape, device=data.device)
        # One table for each set of terms that steps have had: many small tensors that live as long
        # as the window would scatter over the heap, and keep it from being used again.
        self._tables: dict[tuple[str, ...], Tensor] = {}
        self.open(0)

    def open(self, done: int) -> None:
        """Start a new window after `done` steps."""
        self._steps: dict[tuple[str, ...], list[int]] = defaultdict(list)
        self._is_last = self._recipe.steps - done <= self._recipe.eval_every
        self._opened = time.perf_counter()

    def add(self, step: int, losses: Losses, index: Tensor) -> None:
        """Take in one step; `index` is [R, B], the images' positions in the training split."""
        terms = {"loss": losses.total.detach(), **losses.terms}
        names = tuple(terms)
        if names not in self._tables:
            check_losses(self._method.name, losses, tuple(index.shape))
            size = min(self._recipe.eval_every, self._recipe.steps)
            shape = (size, len(names), self._method.task.replicas)
            self._tables[names] = losses.total.detach().new_empty(shape)
        torch.stack(list(terms.values()), out=self._tables[names][len(self._steps[names])])
        self._steps[names].append(step)
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
        steps = sum(len(at) for at in self._steps.values())
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
        for names, at in self._steps.items():
            table = self._tables[names][: len(at)].cpu()
            for name, column in zip(names, table.unbind(1), strict=True):
                values[name].append(column)
                steps[name].extend(at)
        return {name: torch.cat(each) for name, each in values.items()}, steps

    def sample_weights(self) -> pd.DataFrame:
        """One row per training image and seed; columns as in the catalog's contract."""
        conflicting = pd.array(self._train.conflicting == 1, dtype="boolean")
        conflicting[self._train.conflicting < 0] = pd.NA
        averages = {name: each.cpu().numpy() for name, each in self._method.image_losses().items()}
        tables = []
        for replica, seed in enumerate(self._method.task.seeds):
            table = pd.DataFrame({"image_id": self._train.image_ids, "seed": seed})
            table["weight"] = self._final_weights[replica]
            for name in dict.fromkeys(("intrinsic", "bias", *averages)):
                table[f"loss_average_{name}"] = (
                    averages[name][replica] if name in averages else np.float32("nan")
                )
            table["conflicting"] = conflicting
            tables.append(table)
        return pd.concat(tables, ignore_index=True)

    def _mean_weights(self) -> np.ndarray[Any, np.dtype[np.float32]]:
        """Mean W of each image over the window; what it would get now where it was not drawn."""
        now = self._method.image_weights()
        if now is None:
            now = torch.full_like(self._visits, float("nan"))
        means = torch.where(self._visits > 0, self._weight_sums / self._visits, now)
        return means.cpu().numpy()

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


def _evaluate(method: Method, data: ImageData, precision: str) -> list[dict[str, Any]]:
    """Accuracies on the validation and test splits, a row per replica."""
    rows: list[dict[str, Any]] = [{} for _ in range(method.task.replicas)]
    for split in ("valid", "test"):
        predictions = predict(method, data, split, precision)
        for name, values in accuracies(predictions, data.splits[split]).items():
            for row, value in zip(rows, values, strict=True):
                row[f"{split}_{name}"] = float(value)
    return rows


def _offer(
    keeper: Keeper, replica: int, step: int, row: Mapping[str, float], headline: str
) -> None:
    selection = harmonic_mean(row["valid_aligned_accuracy"], row["valid_conflicting_accuracy"])
    keeper.offer("selected", replica, step, selection)
    keeper.offer("best_on_test", replica, step, row[f"test_{headline}"])


def _history_table(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    table = pd.DataFrame(rows)
    losses = [name for name in table.columns if name.startswith("loss")]
    accuracy = [name for name in table.columns if name.startswith(("valid_", "test_"))]
    first = ["step", "seed", *losses, "learning_rate"]
    return table[[*first, *accuracy, "images_per_second"]]


def _set_learning_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    for group in optimiser.param_groups:
        group["lr"] = rate
