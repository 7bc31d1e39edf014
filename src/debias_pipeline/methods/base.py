"""What every debiasing method provides to the training loop and to evaluation."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Final, Literal, Protocol

import torch
from torch import Tensor, nn

from debias_pipeline.errors import UserError
from debias_pipeline.methods.recipe import Recipe
from debias_pipeline.networks import check_same_tensors
from debias_pipeline.randomness import generators

__all__ = [
    "Batch",
    "Losses",
    "Method",
    "Optimiser",
    "Plan",
    "Recipe",
    "Run",
    "Sampling",
    "Stage",
    "Task",
    "Update",
    "check_shape",
]

# The optimiser of a method that has one only.
MAIN: Final = "main"


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
        index: int64, [R, B], positions in the training split, none twice in a replica if the
            sampling is `shuffle`.
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


@dataclass(frozen=True)
class Stage:
    """A part of training with its own batches and optimisers.

    Attributes:
        name: unique within the method; random streams of the stage are derived from it.
        steps: number of training steps, 0 or more.
        every: number of steps after which `Method.on_interval` is called, or None.
        evaluated: whether `Method.predict` is worth evaluating during this stage.
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
    """An optimiser and the parameters that it moves.

    Attributes:
        modules: whose parameters are optimised.
        learning_rate: step of the stage → learning rate.
        kind: `adam` or `sgd`.
        weight_decay: factor of the L2 penalty, added to the gradient.
        momentum: of `sgd`.
    """

    modules: Sequence[nn.Module]
    learning_rate: Callable[[int], float]
    kind: Literal["adam", "sgd"] = "adam"
    weight_decay: float = 0.0
    momentum: float = 0.0

    @classmethod
    def of_recipe(cls, recipe: Recipe, *modules: nn.Module) -> "Optimiser":
        """Return the optimiser that a recipe describes, for the parameters of some modules."""
        return cls(
            modules,
            recipe.learning_rate,
            recipe.optimiser,
            recipe.weight_decay,
            recipe.momentum,
        )


@dataclass(frozen=True)
class Plan:
    """What a stage needs of the training loop.

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
        losses: their total is minimised.
        optimisers: names of those that make a step. Gradients reach their parameters only.
    """

    losses: Losses
    optimisers: Sequence[str] = (MAIN,)


class Run(Protocol):
    """What a method may ask of the training run that it is part of."""

    def labels(self, split: str) -> Tensor:
        """Return the labels of a split: int64, [n], on the CPU."""

    def bias(self, split: str) -> Tensor:
        """Return the bias attribute of a split: int64, [n], on the CPU.

        Raises:
            UserError: if it is unknown for an image of the split.
            RuntimeError: if the method does not declare in `bias_labels` that it uses it.
        """

    def sweep(
        self, function: Callable[[Tensor], Tensor], split: str = "train", *, augment: bool = False
    ) -> Tensor:
        """Apply a function to all images of a split, in order, without gradients, in eval mode.

        Args:
            function: images as in `Method.predict` → [R, B, …].
            split: train, valid or test.
            augment: whether images are transformed as in training, for each replica differently.

        Returns:
            [R, n, …], on the device.
        """


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

    A method with one stage, one optimiser and one loss implements `losses` and `predict` only.
    The training loop calls, for each stage: `begin`, then for each step `updates`, then `end`.

    Every parameter and buffer carries the replica axis R first: seeds train together, and replica
    k is what a run of seed k alone would be. All state is in parameters, buffers and
    `random_stream`s, so that an interrupted run can be resumed.

    Attributes:
        name: as typed in `--pipeline=…`.
        recipe_type: the method's hyper-parameters.
        bias_labels: which bias labels the method uses: `none`, `training` or `heldout`.
    """

    name: ClassVar[str]
    recipe_type: ClassVar[type[Recipe]] = Recipe
    bias_labels: ClassVar[Literal["none", "training", "heldout"]] = "none"

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
        self.random_streams: dict[str, Sequence[torch.Generator]] = {}

    def random_stream(self, purpose: str) -> Sequence[torch.Generator]:
        """Return one CPU generator per replica; their states are part of a snapshot.

        Args:
            purpose: what the numbers are for, such as "feature swap"; names the stream.
        """
        return self.random_streams.setdefault(purpose, generators(self.task.seeds, purpose))

    def stages(self) -> Sequence[Stage]:
        """Return the stages of training, from the recipe alone; by default there is one."""
        return (Stage("main", self.recipe.steps),)

    def begin(self, stage: Stage, run: Run) -> Plan:
        """Prepare a stage; buffers hold what earlier stages left.

        When a run is resumed, this is called again for all stages up to the one that was
        interrupted, and parameters and buffers are restored afterwards.

        Args:
            stage: one of `stages`.
            run: gives labels and predictions of whole splits.

        Returns:
            The stage's batches and optimisers; by default a uniform shuffle and one optimiser of
            all parameters, both as the recipe says.
        """
        del stage
        self.begin_training(run.labels("train"))
        return Plan(
            (Sampling(self.recipe.batch_size),), {MAIN: Optimiser.of_recipe(self.recipe, self)}
        )

    def begin_training(self, labels: Tensor) -> None:
        """Create what is kept per training image, if anything; called by the default `begin`.

        Args:
            labels: int64, [N], of the training split, on the CPU.
        """

    def updates(self, batches: Sequence[Batch], step: int) -> Iterator[Update]:
        """Yield the updates of one step; each sees what the one before has changed.

        Args:
            batches: one per stream of the plan.
            step: number of steps of this stage made before this one.
        """
        yield Update(self.losses(batches[0], step))

    def on_interval(self, stage: Stage, step: int, run: Run) -> None:
        """Do what has to be done every `stage.every` steps.

        Args:
            stage: the current one.
            step: number of steps of this stage made so far.
            run: see `begin`.
        """

    def end(self, stage: Stage, run: Run) -> None:
        """Finish a stage, such as by a pass over the data; results go into buffers.

        Args:
            stage: the one that has ended.
            run: see `begin`.
        """

    @abstractmethod
    def losses(self, batch: Batch, step: int) -> Losses:
        """Return the losses of one step, updating what is kept per training image.

        Args:
            batch: the images of the step.
            step: number of steps of this stage made before this one.
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
