"""Stages of training: their batches, their optimisers and their updates."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from torch import Tensor, nn

from debias_pipeline.methods.batch import Losses
from debias_pipeline.methods.recipe import Recipe

# Name of the optimiser of a method that has only one.
MAIN: Final = "main"


@dataclass(frozen=True)
class Stage:
    """A part of training with its own batches and optimisers.

    Attributes:
        name: unique within the method; the random streams of the stage depend on it.
        steps: number of training steps, 0 or more.
        every: number of steps after which `Method.on_interval` is called, or None.
        evaluated: whether accuracies of `Method.predict` are measured during this stage.
    """

    name: str
    steps: int
    every: int | None = None
    evaluated: bool = True


@dataclass(frozen=True)
class Sampling:
    """How the batches of a stream are drawn from the training split.

    Attributes:
        batch_size: B, images per batch and replica.
        kind: `shuffle`: every image once per pass, in a new random order; `counts`: image i
            `values[r, i]` times per pass, in a new random order (0 leaves it out); `weights`: N
            draws with replacement per pass, image i with probability proportional to
            `values[r, i]`. The last incomplete batch of a pass is dropped.
        values: [R, N] on the CPU: int64 for `counts`, float for `weights`, else None.
    """

    batch_size: int
    kind: Literal["shuffle", "counts", "weights"] = "shuffle"
    values: Tensor | None = None


@dataclass(frozen=True)
class Optimiser:
    """An optimiser and the parameters that it updates.

    Attributes:
        modules: whose parameters are updated.
        learning_rate: number of steps made in the stage → learning rate.
        kind: `adam` or `sgd`.
        weight_decay: factor of the L2 penalty, added to the gradient.
        momentum: ignored by `adam`.
    """

    modules: Sequence[nn.Module]
    learning_rate: Callable[[int], float]
    kind: Literal["adam", "sgd"] = "adam"
    weight_decay: float = 0.0
    momentum: float = 0.0

    @classmethod
    def of_recipe(cls, recipe: Recipe, *modules: nn.Module) -> "Optimiser":
        """Return the optimiser of a recipe for the parameters of some modules."""
        return cls(
            modules,
            recipe.learning_rate,
            recipe.optimiser,
            recipe.weight_decay,
            recipe.momentum,
        )


def two_stages(first: str, first_steps: int, steps: int) -> tuple[Stage, Stage]:
    """Return a first stage that is not evaluated, and the main stage."""
    return Stage(first, first_steps, evaluated=False), Stage(MAIN, steps)


@dataclass(frozen=True)
class Plan:
    """The batches and the optimisers of a stage.

    Attributes:
        streams: each step takes one batch of each.
        optimisers: by name. Parameters of no optimiser are frozen during the stage.
    """

    streams: Sequence[Sampling]
    optimisers: Mapping[str, Optimiser]


@dataclass(frozen=True)
class Update:
    """One update of parameters; a step makes one or several.

    Attributes:
        losses: `losses.total` is minimised.
        optimisers: names of the optimisers that make a step; only their parameters get gradients.
    """

    losses: Losses
    optimisers: Sequence[str] = (MAIN,)


class Run(Protocol):
    """Services of the training run that a method may call."""

    def labels(self, split: str) -> Tensor:
        """Return the labels of a split: int64, [n], on the CPU."""

    def bias(self, split: str) -> Tensor:
        """Return the bias attribute of a split: int64, [n], on the CPU.

        Raises:
            UserError: if it is unknown for an image of the split.
            RuntimeError: if the method is not an oracle, see `Method.is_oracle`.
        """

    def sweep(
        self, function: Callable[[Tensor], Tensor], split: str = "train", *, augment: bool = False
    ) -> Tensor:
        """Apply a function to all images of a split in order, without gradients, in eval mode.

        Args:
            function: images as in `Method.predict` → [R, B, …].
            split: train, valid or test.
            augment: whether images are augmented as in training, differently for each replica.

        Returns:
            [R, n, …], on the device.
        """
