"""Which networks of a run are kept, and how they become tables of tensors and back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from debias_pipeline.errors import UserError
from debias_pipeline.methods import Method, Task, get_method
from debias_pipeline.selection_rules import SELECTION_RULES

# Of the data card: what a training belongs to.
_COMPARED = {"label_names": "labels", "image_shape": "image height, width and channels"}
_IDENTITY = (*_COMPARED, "content_hash", "raw_hash")
_SHOWN_VALUES = 5


@dataclass(frozen=True)
class Kept:
    """The networks of one seed at the step that a selection rule has chosen."""

    state: Mapping[str, Tensor]
    step: int


class BestCheckpoints:
    """The networks that each selection rule has chosen so far, of each replica."""

    def __init__(self, method: Method) -> None:
        """Set up.

        Args:
            method: whose networks are kept.
        """
        self._method = method
        self.kept: dict[str, dict[int, Kept]] = {rule: {} for rule in SELECTION_RULES}

    def keep(self, rule: str, replica: int, step: int) -> None:
        """Keep a replica's networks in place of those that a rule chose before."""
        self.kept[rule][replica] = Kept(self._state(replica, step), step)

    def _state(self, replica: int, step: int) -> Mapping[str, Tensor]:
        """Return the networks now; rules that choose the same step share one copy."""
        for of_replica in self.kept.values():
            kept = of_replica.get(replica)
            if kept and kept.step == step:
                return kept.state
        return self._method.replica_state(replica)

    def state_dict(self) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
        """Return tensors, `<replica>/<step>/<parameter>`, and which rule has kept which."""
        tensors, rows = {}, []
        for rule, of_replica in self.kept.items():
            for replica, kept in of_replica.items():
                rows.append({"rule": rule, "replica": replica, "step": kept.step})
                for name, tensor in kept.state.items():
                    tensors[f"{replica}/{kept.step}/{name}"] = tensor
        return tensors, rows

    def load_state_dict(
        self, tensors: Mapping[str, Tensor], rows: Sequence[Mapping[str, Any]]
    ) -> None:
        """Restore what `state_dict` gave."""
        states: dict[str, dict[str, Tensor]] = {}
        for key, tensor in tensors.items():
            replica, step, name = key.split("/", 2)
            states.setdefault(f"{replica}/{step}", {})[name] = tensor
        for row in rows:
            state = states[f"{row['replica']}/{row['step']}"]
            self.kept[row["rule"]][row["replica"]] = Kept(state, row["step"])


@dataclass(frozen=True)
class Checkpoint:
    """Trained networks with all that is needed to use them.

    Attributes:
        recipe: of the run, as plain values.
        image_shape: height, width, channels.
        classes: number of labels.
        seeds: one per replica.
        steps: choice → the step of each seed, in the order of `seeds`; a choice that could
            not be made is absent.
        states: choice → the networks of each seed.
        origin: dataset, percent and whatever else tells where the networks come from, and the
            `data_identity` of what they were trained on.
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
        kept: Mapping[str, Sequence[Kept]],
        recipe: Mapping[str, Any],
        task: Task,
        origin: Mapping[str, Any],
    ) -> "Checkpoint":
        """The networks that a training run kept.

        Args:
            kept: choice → the networks of each seed.
            recipe: of the run, as plain values.
            task: what was learned.
            origin: see `Checkpoint`.
        """
        made = {choice: each for choice, each in kept.items() if each}
        return cls(
            recipe=recipe,
            image_shape=task.image_shape,
            classes=task.classes,
            seeds=list(task.seeds),
            steps={choice: [one.step for one in each] for choice, each in made.items()},
            states={choice: [one.state for one in each] for choice, each in made.items()},
            origin=origin,
        )

    def to_catalog(self) -> dict[str, Any]:
        """Tensors named `<choice>/seed<seed>/<parameter>` and JSON-ready metadata."""
        tensors = {
            f"{choice}/seed{seed}/{name}": tensor.contiguous()
            for choice, states in self.states.items()
            for seed, state in zip(self.seeds, states, strict=True)
            for name, tensor in state.items()
        }
        metadata = {
            "recipe": dict(self.recipe),
            "image_shape": list(self.image_shape),
            "classes": self.classes,
            "seeds": list(self.seeds),
            "steps": {choice: list(steps) for choice, steps in self.steps.items()},
            "origin": dict(self.origin),
        }
        return {"tensors": tensors, "metadata": metadata}

    @classmethod
    def from_catalog(cls, saved: Mapping[str, Any]) -> "Checkpoint":
        """The inverse of `to_catalog`.

        Raises:
            UserError: if the metadata of a checkpoint of this project is not there.
        """
        try:
            metadata = saved["metadata"]
            steps, seeds = metadata["steps"], metadata["seeds"]
            states = {
                choice: [_of_seed(saved["tensors"], choice, seed) for seed in seeds]
                for choice in steps
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
                f"the checkpoint was not written by this project ({error!r}): train again"
            ) from error


def data_identity(data_card: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a checkpoint and a training record keep of the data that they belong to."""
    return {key: data_card.get(key) for key in _IDENTITY}


def data_difference(trained_on: Mapping[str, Any], data_card: Mapping[str, Any]) -> str | None:
    """Say in what a data set differs from the one that was trained on; None if it does not.

    Args:
        trained_on: from `data_identity`; what is not known of it is not compared.
        data_card: of the data set.
    """
    for key, name in _COMPARED.items():
        was, now = trained_on.get(key), data_card.get(key)
        if was is not None and was != now:
            return f"the {name} were {_listed(was)} and are {_listed(now)}"
    was, now = trained_on.get("content_hash"), data_card.get("content_hash")
    if was is not None and was != now:
        return "images or labels have changed"
    return None


def _listed(values: Sequence[Any] | None) -> str:
    shown = [str(value) for value in (values or ["not known"])[:_SHOWN_VALUES]]
    return ", ".join(shown) + (", …" if values and len(values) > _SHOWN_VALUES else "")


def check_data(checkpoint: Checkpoint, data_card: Mapping[str, Any]) -> None:
    """Check that a checkpoint was trained on this data set.

    Raises:
        UserError: if it was not; published files do not say, and only their shapes are checked.
    """
    if difference := data_difference(checkpoint.origin, data_card):
        raise UserError(
            f"the checkpoint of {checkpoint.recipe['method']} was trained on other data: "
            f"{difference}; train again"
        )


def _of_seed(tensors: Mapping[str, Tensor], choice: str, seed: int) -> dict[str, Tensor]:
    prefix = f"{choice}/seed{seed}/"
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }


def _without_sources(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return a recipe of networks whose tensors are at hand, in today's fields."""
    # Checkpoints of earlier versions say whether images are normalised by CIFAR-10's statistics.
    earlier = {True: "cifar10", False: "none"}
    normalise = recipe.get("normalise", "none")
    return {**recipe, "weights": "none", "normalise": earlier.get(normalise, normalise)}


def restore_method(checkpoint: Checkpoint, choice: str, device: torch.device) -> Method:
    """The trained networks of one choice, all seeds, ready to predict.

    Raises:
        UserError: if the tensors do not fit the networks that the recipe names.
    """
    method_type = get_method(checkpoint.recipe["method"])
    recipe = method_type.recipe_type.model_validate(_without_sources(checkpoint.recipe))
    task = Task(checkpoint.image_shape, checkpoint.classes, checkpoint.seeds)
    method = method_type(recipe, task)
    try:
        method.load_replica_states(checkpoint.states[choice])
    except ValueError as error:
        raise UserError(f"the checkpoint does not fit its recipe: {error}") from error
    return method.to(device).eval()
