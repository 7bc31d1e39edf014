"""Accumulate losses and sample weights between two evaluations."""

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from debias_pipeline.errors import RecipeError, UserError
from debias_pipeline.images import ImageData
from debias_pipeline.methods import Losses, Method, Recipe, Stage, check_shape
from debias_pipeline.names import LOSS_AVERAGES


def empty_sample_weights() -> pd.DataFrame:
    """Return `sample_weights` without rows."""
    types = {"image_id": "int64", "seed": "int64", "weight": "float32"}
    types |= {f"loss_average_{name}": "float32" for name in LOSS_AVERAGES}
    types |= {"conflicting": "boolean"}
    return pd.DataFrame(columns=list(types)).astype(types)


def check_losses(method: str, losses: Losses, drawn: tuple[int, ...]) -> None:
    """Check losses that PyTorch would accept but that would train something else.

    Args:
        method: name of the method.
        losses: losses of a step.
        drawn: R, B.

    Raises:
        UserError: if a tensor differs from the description of `Losses`.
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
        raise UserError(f"{method}: total of its losses has no gradient; do not detach it")
    for name, term in losses.terms.items():
        if term.requires_grad:
            raise UserError(f"{method}: terms['{name}'] of its losses has a gradient; detach it")
        if not name.startswith("loss"):
            raise UserError(
                f"{method}: terms['{name}'] of its losses does not begin with loss; name it "
                f"loss_{name}"
            )


# The number of an update within its step, and its loss terms.
_Key: TypeAlias = tuple[int, tuple[str, ...]]


class Window:
    """Losses and sample weights since the last evaluation, kept on the device."""

    def __init__(
        self,
        method: Method,
        data: ImageData,
        recipe: Recipe,
        stage: Stage,
        *,
        images_per_step: int,
        keep_weights: bool = True,
    ) -> None:
        """Start the first window of a stage.

        Args:
            method: being trained.
            data: being trained on.
            recipe: gives the number of steps between evaluations.
            stage: being trained.
            images_per_step: number of images that a step draws for a replica.
            keep_weights: whether `sample_weights` are means over the last window of this stage.
        """
        self._method, self._train, self._recipe = method, data.splits["train"], recipe
        self._stage, self._keep_weights = stage, keep_weights
        self._images_per_step = images_per_step
        self._final_weights: Tensor | None = None
        shape = (method.task.replicas, len(self._train))
        self._weight_sums = torch.zeros(shape, device=data.device)
        self._visits = torch.zeros(shape, device=data.device)
        # One table for each set of terms. Many small tensors that live as long as the window would
        # fragment the heap.
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
            losses: losses of the update.
            index: int64, [R, B], positions in the training split.
        """
        terms = {"loss": losses.total.detach(), **losses.terms}
        key = (update, tuple(terms))
        if key not in self._tables:
            check_losses(self._method.name, losses, tuple(index.shape))
            self._new_table(key)
        torch.stack(list(terms.values()), out=self._tables[key][len(self._steps[key])])
        self._steps[key].append(step)
        # `sample_weights` are means over the last window.
        if self._is_last and losses.weights is not None:
            self._weight_sums.scatter_add_(1, index, losses.weights.detach())
            self._visits.scatter_add_(1, index, torch.ones_like(losses.weights))

    def close(self) -> dict[str, Any]:
        """End the window; return means of its loss terms, [R], and images drawn per second.

        Raises:
            RecipeError: if a loss of the window is not finite.
        """
        terms, steps_of = self._read_back()
        self._check_finite(terms, steps_of)
        seconds = time.perf_counter() - self._opened
        seconds += self._seconds_before
        steps = 1 + max(at[-1] for at in self._steps.values()) - self._first
        replicas = self._method.task.replicas
        means: dict[str, Any] = {name: values.mean(0).tolist() for name, values in terms.items()}
        means["images_per_second"] = [steps * self._images_per_step / seconds] * replicas
        if self._is_last:
            self._final_weights = self._mean_weights()
        return means

    def _read_back(self) -> tuple[dict[str, Tensor], dict[str, list[int]]]:
        """Return the values of each term, [steps, R], and their steps."""
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
        """Restore the result of `state_dict`."""
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
        """Return the catalog's `sample_weights`, a row per training image and seed."""
        conflicting = pd.array(self._train.conflicting == 1, dtype="boolean")
        conflicting[self._train.conflicting < 0] = pd.NA
        averages = {name: each.cpu().numpy() for name, each in self._method.image_losses().items()}
        weights = self._mean_weights() if self._final_weights is None else self._final_weights
        tables = []
        for replica, seed in enumerate(self._method.task.seeds):
            table = pd.DataFrame({"image_id": self._train.image_ids, "seed": seed})
            table["weight"] = weights[replica].numpy()
            for name in dict.fromkeys((*LOSS_AVERAGES, *averages)):
                table[f"loss_average_{name}"] = (
                    averages[name][replica] if name in averages else np.float32("nan")
                )
            table["conflicting"] = conflicting
            tables.append(table)
        return pd.concat(tables, ignore_index=True)

    def _mean_weights(self) -> Tensor:
        """Return mean weights over the window, or present weights of images not drawn."""
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
            f"{name} is not finite at step {step} (seed {self._method.task.seeds[replica]}); "
            "try a smaller {recipe}.lr"
        )
