"""Checkpoints: which networks of a run are kept, and how the catalog stores them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, cast

import torch
from torch import Tensor

from debias_pipeline.errors import UserError
from debias_pipeline.methods import Method, Task, get_method
from debias_pipeline.records import DataCard, DataIdentity
from debias_pipeline.registry import unknown
from debias_pipeline.selection_rules import LAST, SELECTION_RULES

# Keys of the data card that are compared → what they are called in messages.
_COMPARED: Final[Mapping[Literal["label_names", "image_shape"], str]] = {
    "label_names": "labels",
    "image_shape": "image height, width and channels",
}
# Number of values that a message lists.
_SHOWN_VALUES = 5


@dataclass(frozen=True)
class SeedCheckpoint:
    """The networks of one seed at the step that a selection rule selected."""

    state: Mapping[str, Tensor]
    step: int


class BestCheckpoints:
    """The checkpoint of each replica that each selection rule has selected so far."""

    def __init__(self, method: Method) -> None:
        """Start without checkpoints; they are copied from `method` as it is trained."""
        self._method = method
        self._best: dict[str, dict[int, SeedCheckpoint]] = {rule: {} for rule in SELECTION_RULES}

    def update(self, selected: Mapping[str, Sequence[int]], step: int) -> None:
        """Copy the networks of selected replicas and replace those selected before.

        Args:
            selected: selection rule → replicas.
            step: number of steps made so far.
        """
        for rule, replicas in selected.items():
            for replica in replicas:
                self._best[rule][replica] = SeedCheckpoint(self._state(replica, step), step)

    def finished(self, available: Collection[str], steps: int) -> dict[str, list[SeedCheckpoint]]:
        """Return rule → the checkpoint of each seed, at the end of training.

        Args:
            available: rules that have selected a step for every seed; others get an empty list.
            steps: number of steps of the run.
        """
        self.update({LAST.key: range(self._method.task.replicas)}, steps)
        return {
            rule: [of_replica[replica] for replica in sorted(of_replica)]
            if rule in available
            else []
            for rule, of_replica in self._best.items()
        }

    def _state(self, replica: int, step: int) -> Mapping[str, Tensor]:
        """Return the networks now; rules that select the same step share one copy."""
        for of_replica in self._best.values():
            best = of_replica.get(replica)
            if best and best.step == step:
                return best.state
        return self._method.replica_state(replica)

    def state_dict(self) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
        """Return tensors, `<replica>/<step>/<parameter>`, and the step of each rule and replica."""
        tensors, rows = {}, []
        for rule, of_replica in self._best.items():
            for replica, best in of_replica.items():
                rows.append({"rule": rule, "replica": replica, "step": best.step})
                for name, tensor in best.state.items():
                    tensors[f"{replica}/{best.step}/{name}"] = tensor
        return tensors, rows

    def load_state_dict(
        self, tensors: Mapping[str, Tensor], rows: Sequence[Mapping[str, Any]]
    ) -> None:
        """Restore the result of `state_dict`."""
        states: dict[str, dict[str, Tensor]] = {}
        for key, tensor in tensors.items():
            replica, step, name = key.split("/", 2)
            states.setdefault(f"{replica}/{step}", {})[name] = tensor
        for row in rows:
            state = states[f"{row['replica']}/{row['step']}"]
            self._best[row["rule"]][row["replica"]] = SeedCheckpoint(state, row["step"])


@dataclass(frozen=True)
class Checkpoint:
    """Trained networks with everything that is needed to use them.

    Attributes:
        recipe: of the run, as plain values.
        image_shape: height, width, channels.
        classes: number of labels.
        seeds: one per replica.
        steps: selection rule → the step of each seed, in the order of `seeds`; without rules that
            did not select a step for every seed.
        states: selection rule → the networks of each seed.
        origin: data set, percent and other facts about the training data, with `data_identity`.
    """

    recipe: Mapping[str, Any]
    image_shape: tuple[int, int, int]
    classes: int
    seeds: Sequence[int]
    steps: Mapping[str, Sequence[int]]
    states: Mapping[str, Sequence[Mapping[str, Tensor]]]
    origin: Mapping[str, Any]

    @classmethod
    def of_run(
        cls,
        checkpoints: Mapping[str, Sequence[SeedCheckpoint]],
        recipe: Mapping[str, Any],
        task: Task,
        origin: Mapping[str, Any],
    ) -> "Checkpoint":
        """Return the checkpoint of a training run.

        Args:
            checkpoints: see `TrainingRun.checkpoints`.
            recipe: as plain values.
            task: gives image size, number of classes and seeds.
            origin: see `Checkpoint`.
        """
        selected = {rule: each for rule, each in checkpoints.items() if each}
        return cls(
            recipe=recipe,
            image_shape=task.image_shape,
            classes=task.classes,
            seeds=list(task.seeds),
            steps={rule: [one.step for one in each] for rule, each in selected.items()},
            states={rule: [one.state for one in each] for rule, each in selected.items()},
            origin=origin,
        )

    def of_seed(self, rule: str, seed: int) -> "Checkpoint":
        """Return the checkpoint with the networks of one selection rule and seed only.

        Raises:
            UserError: if it does not have them; the message lists those that it has.
        """
        if rule not in self.steps:
            raise UserError(unknown("selection rule of the checkpoint", rule, self.steps))
        if seed not in self.seeds:
            raise UserError(unknown("seed of the checkpoint", str(seed), map(str, self.seeds)))
        position = list(self.seeds).index(seed)
        return replace(
            self,
            seeds=[seed],
            steps={rule: [self.steps[rule][position]]},
            states={rule: [self.states[rule][position]]},
        )

    def to_catalog(self) -> dict[str, Any]:
        """Return tensors named `<rule>/seed<seed>/<parameter>`, and metadata as JSON values."""
        tensors = {
            f"{rule}/seed{seed}/{name}": tensor.contiguous()
            for rule, states in self.states.items()
            for seed, state in zip(self.seeds, states, strict=True)
            for name, tensor in state.items()
        }
        metadata = {
            "recipe": dict(self.recipe),
            "image_shape": list(self.image_shape),
            "classes": self.classes,
            "seeds": list(self.seeds),
            "steps": {rule: list(steps) for rule, steps in self.steps.items()},
            "origin": dict(self.origin),
        }
        return {"tensors": tensors, "metadata": metadata}

    @classmethod
    def from_catalog(cls, saved: Mapping[str, Any]) -> "Checkpoint":
        """Return the checkpoint that `to_catalog` described.

        Raises:
            UserError: if metadata or tensors are missing.
        """
        try:
            metadata = saved["metadata"]
            steps, seeds = metadata["steps"], metadata["seeds"]
            states = {
                rule: [_of_seed(saved["tensors"], rule, seed) for seed in seeds] for rule in steps
            }
            height, width, channels = metadata["image_shape"]
            return cls(
                recipe=metadata["recipe"],
                image_shape=(height, width, channels),
                classes=metadata["classes"],
                seeds=seeds,
                steps=steps,
                states=states,
                origin=metadata["origin"],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"the checkpoint was not written by this project ({error!r}); train again"
            ) from error


def data_identity(data_card: DataCard) -> DataIdentity:
    """Return the facts about training data that checkpoints and training records hold."""
    return {
        "label_names": data_card["label_names"],
        "image_shape": data_card["image_shape"],
        # Data cards of earlier versions lack the hashes.
        "content_hash": data_card.get("content_hash"),
        "raw_hash": data_card.get("raw_hash"),
    }


def data_difference(trained_on: DataIdentity, data_card: DataCard) -> str | None:
    """Return how a data set differs from the one that was trained on; None if it does not.

    Args:
        trained_on: from `data_identity`; missing facts are not compared.
        data_card: data card of the data set.
    """
    for key, name in _COMPARED.items():
        was, now = trained_on.get(key), data_card.get(key)
        if was is not None and was != now:
            return f"the {name} were {_listed(was)} and are {_listed(now)}"
    content_hash = trained_on.get("content_hash")
    if content_hash is not None and content_hash != data_card.get("content_hash"):
        return "images or labels have changed"
    return None


def _listed(values: Sequence[object] | None) -> str:
    shown = [str(value) for value in (values or ["not known"])[:_SHOWN_VALUES]]
    return ", ".join(shown) + (", …" if values and len(values) > _SHOWN_VALUES else "")


def check_data(checkpoint: Checkpoint, data_card: DataCard) -> None:
    """Check that a checkpoint was trained on this data set.

    Raises:
        UserError: if it was not. Of published files only the shapes are known and checked.
    """
    if difference := data_difference(cast(DataIdentity, checkpoint.origin), data_card):
        raise UserError(
            f"the checkpoint of {checkpoint.recipe['method']} was trained on other data: "
            f"{difference}; train again"
        )


def _of_seed(tensors: Mapping[str, Tensor], rule: str, seed: int) -> dict[str, Tensor]:
    prefix = f"{rule}/seed{seed}/"
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }


def _without_sources(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return a recipe in today's fields, without initial weights, which a checkpoint replaces."""
    # Checkpoints of earlier versions say whether images are normalised by CIFAR-10's statistics.
    earlier = {True: "cifar10", False: "none"}
    normalise = recipe.get("normalise", "none")
    return {**recipe, "weights": "none", "normalise": earlier.get(normalise, normalise)}


def restore_method(checkpoint: Checkpoint, rule: str, device: torch.device) -> Method:
    """Return the trained networks that a selection rule selected, all seeds, in eval mode.

    Raises:
        UserError: if the tensors do not fit the networks of the recipe.
    """
    method_type = get_method(checkpoint.recipe["method"])
    recipe = method_type.recipe_type.model_validate(_without_sources(checkpoint.recipe))
    task = Task(checkpoint.image_shape, checkpoint.classes, checkpoint.seeds)
    method = method_type(recipe, task)
    try:
        method.load_replica_states(checkpoint.states[rule])
    except ValueError as error:
        raise UserError(f"the checkpoint does not fit its recipe: {error}") from error
    return method.to(device).eval()
