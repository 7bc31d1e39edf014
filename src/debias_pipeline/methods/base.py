"""What every debiasing method provides to the training loop and to evaluation."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from debias_pipeline.errors import UserError
from debias_pipeline.methods.recipe import Recipe
from debias_pipeline.networks import check_same_tensors

__all__ = ["Batch", "Losses", "Method", "Recipe", "Task", "check_shape"]


@dataclass(frozen=True)
class Task:
    """What a method has to learn.

    Attributes:
        image_shape: height, width, channels.
        classes: C, the number of labels.
        seeds: one per replica; R of them.
    """

    image_shape: tuple[int, int, int]
    classes: int
    seeds: Sequence[int]

    @property
    def replicas(self) -> int:
        """R."""
        return len(self.seeds)


@dataclass(frozen=True)
class Batch:
    """The images of one step, for every replica its own.

    Attributes:
        images: [R, B, 3, H, W], as an encoder takes them.
        labels: int64, [R, B].
        index: int64, [R, B], positions in the training split, none twice in a replica.
    """

    images: Tensor
    labels: Tensor
    index: Tensor


@dataclass(frozen=True)
class Losses:
    """The losses of one step.

    Attributes:
        total: float32, [R], what is minimised; a replica's loss reaches its own networks only.
        terms: the parts worth watching, detached, [R] each; their names begin with `loss`, and
            `loss`, which is the total, may be left out.
        weights: the weight W of each image in the loss, [R, B], or None where the method
            weighs nothing.
    """

    total: Tensor
    terms: Mapping[str, Tensor] = field(default_factory=dict)
    weights: Tensor | None = None


def check_shape(what: str, tensor: Tensor, shape: tuple[int, ...], meaning: str) -> None:
    """Refuse what a method gives in another shape than it promises.

    Args:
        what: names the tensor, its method first.
        tensor: what the method gave.
        shape: what it promises.
        meaning: of the shape's axes, in words.

    Raises:
        UserError: naming both shapes.
    """
    if tuple(tensor.shape) != shape:
        raise UserError(
            f"{what} the shape {list(tensor.shape)} where {list(shape)}, {meaning}, is needed"
        )


class Method(nn.Module, ABC):
    """A debiasing method: its networks, its loss and its prediction.

    Every parameter carries the replica axis R first: seeds train together, and replica k
    is what a run of seed k alone would be.

    Attributes:
        name: as typed in `--pipeline=…`.
        recipe_type: the method's hyper-parameters.
    """

    name: ClassVar[str]
    recipe_type: ClassVar[type[Recipe]] = Recipe

    @abstractmethod
    def __init__(self, recipe: Recipe, task: Task) -> None:
        """Make the untrained networks.

        Args:
            recipe: an instance of `recipe_type`.
            task: what has to be learned.
        """
        super().__init__()
        self.recipe = recipe
        self.task = task

    def begin_training(self, labels: Tensor) -> None:
        """Make what is kept per training image, if anything.

        Args:
            labels: int64, [N], of the training split, on the CPU.
        """

    @abstractmethod
    def losses(self, batch: Batch, step: int) -> Losses:
        """The losses of one step, updating what is kept per training image.

        Args:
            batch: the images of the step.
            step: number of updates made before this one.
        """

    @abstractmethod
    def predict(self, images: Tensor) -> Tensor:
        """Logits.

        Args:
            images: float, [R, B, 3, H, W], or [1, B, 3, H, W] shared by all replicas.

        Returns:
            [R, B, C].
        """

    def predict_branches(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Logits of `predict`, and those of the branch that is meant to learn the bias.

        One call for both, so that what they share is computed once.

        Args:
            images: see `predict`.

        Returns:
            [R, B, C] each; None for the second where the method has no such branch.
        """
        return self.predict(images), None

    def image_losses(self) -> Mapping[str, Tensor]:
        """What is kept per training image, by name of the branch: float32, [R, N] each.

        The names become columns `loss_average_<name>` of the catalog's `sample_weights`.
        """
        return {}

    def image_weights(self) -> Tensor | None:
        """The weight that each training image would get now, [R, N], or None."""
        return None

    def replica_state(self, replica: int) -> dict[str, Tensor]:
        """A copy of one replica's networks: name → tensor without the replica axis."""
        return {
            name: tensor.detach().to("cpu", copy=True)
            for name, tensor in self._of_replica(replica).items()
        }

    @torch.no_grad()
    def load_replica_states(self, states: Sequence[Mapping[str, Tensor]]) -> None:
        """Set the networks of all replicas.

        Args:
            states: what `replica_state` gave, one per replica in order.

        Raises:
            ValueError: if names or shapes are not those of this method's networks.
        """
        for replica, state in enumerate(states):
            mine = self._of_replica(replica)
            check_same_tensors(state, mine)
            for name, tensor in mine.items():
                tensor.copy_(state[name])

    def published_networks(self, replica: int) -> dict[str, dict[str, Tensor]]:
        """One replica's networks as published code stores them: file suffix → state dict.

        Empty for a method of which no such files go about.
        """
        del replica
        return {}

    def load_published_networks(
        self, replica: int, networks: Mapping[str, Mapping[str, Tensor]]
    ) -> None:
        """Set one replica from what `published_networks` gives.

        Raises:
            ValueError: if names or shapes are those of other networks.
        """
        raise ValueError(f"no published format of {self.name} is known")

    def _of_replica(self, replica: int) -> dict[str, Tensor]:
        """One replica's parameters and buffers, as views."""
        found = {}
        for name, tensor in self.state_dict(keep_vars=True).items():
            part, separator, rest = name.partition(".replicas.")
            if not separator:
                found[name] = tensor[replica]
                continue
            index, _, inner = rest.partition(".")
            if int(index) == replica:
                found[f"{part}.{inner}"] = tensor
        return found
