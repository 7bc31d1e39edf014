"""The interface between a debiasing method and training and evaluation."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from debias_pipeline.methods.batch import Batch, Losses, Task, check_shape
from debias_pipeline.methods.recipe import Recipe
from debias_pipeline.methods.stages import (
    MAIN,
    Optimiser,
    Plan,
    Run,
    Sampling,
    Stage,
    Update,
    two_stages,
)
from debias_pipeline.names import ORACLE_LABELS, BiasLabels
from debias_pipeline.networks import check_same_tensors
from debias_pipeline.randomness import generators

__all__ = [
    "MAIN",
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
    "two_stages",
]


class Method(nn.Module, ABC):
    """Base class of debiasing methods: networks, losses and predictions.

    A method with one stage, one optimiser and one loss implements `losses` and `predict` only.
    The training loop calls, for each stage: `begin`, then for each step `updates`, then `end`.

    The first axis of every parameter and buffer is the replica axis R. Seeds train together, and
    replica k equals a run of seed k alone up to rounding. All state is in parameters, buffers and
    `random_stream`s, so that an interrupted run can be resumed.

    Attributes:
        name: as typed in `--pipeline=…`.
        recipe_type: class of the hyper-parameters.
        bias_labels: which bias labels the method uses: `none`; `tuning`, if its hyper-parameters
            were chosen with bias labels; `heldout` (of images on which only a part of its networks
            is trained) or `training`, which make it an oracle.
        loss_terms: `Losses.terms` by name → short text for reports. Other terms are shown by name.
        weight_name: what reports call the weight of a training image, or "" if there is none.
    """

    name: ClassVar[str]
    recipe_type: ClassVar[type[Recipe]] = Recipe
    bias_labels: ClassVar[BiasLabels] = "none"
    loss_terms: ClassVar[Mapping[str, str]] = {}
    weight_name: ClassVar[str] = ""

    @abstractmethod
    def __init__(self, recipe: Recipe, task: Task) -> None:
        """Create the untrained networks.

        Args:
            recipe: an instance of `recipe_type`.
            task: sizes and seeds.
        """
        super().__init__()
        self.recipe = recipe
        self.task = task
        self.random_streams: dict[str, Sequence[torch.Generator]] = {}

    def random_stream(self, purpose: str) -> Sequence[torch.Generator]:
        """Return one CPU generator per replica; snapshots contain their states.

        Args:
            purpose: name of the stream, such as "feature swap". The same name gives the same
                generators.
        """
        return self.random_streams.setdefault(purpose, generators(self.task.seeds, purpose))

    def stages(self) -> Sequence[Stage]:
        """Return the stages of training, one by default; they depend on the recipe only."""
        return (Stage("main", self.recipe.steps),)

    def begin(self, stage: Stage, run: Run) -> Plan:
        """Prepare a stage and return its batches and optimisers.

        When a run is resumed, this is called again for all stages up to the interrupted one, and
        parameters and buffers are restored afterwards.

        Args:
            stage: one of `stages`.
            run: gives labels and predictions of whole splits.

        Returns:
            By default, shuffled batches and one optimiser of all parameters.
        """
        del stage
        self.begin_training(run.labels("train"))
        return Plan(
            (Sampling(self.recipe.batch_size),), {MAIN: Optimiser.of_recipe(self.recipe, self)}
        )

    def begin_training(self, labels: Tensor) -> None:
        """Create buffers with an entry per training image; called by the default `begin`.

        Args:
            labels: int64, [N], of the training split, on the CPU.
        """

    def updates(self, batches: Sequence[Batch], step: int) -> Iterator[Update]:
        """Yield the updates of one step; each is computed after the update before it was made.

        Args:
            batches: one per stream of the plan.
            step: number of steps of this stage made before this one.
        """
        yield Update(self.losses(batches[0], step))

    def on_interval(self, stage: Stage, step: int, run: Run) -> None:
        """Called every `stage.every` steps.

        Args:
            stage: the current stage.
            step: number of steps of this stage made so far.
            run: see `begin`.
        """

    def end(self, stage: Stage, run: Run) -> None:
        """Called after the last step of a stage, for example for a pass over the data.

        Results are stored in buffers.

        Args:
            stage: the finished stage.
            run: see `begin`.
        """

    @abstractmethod
    def losses(self, batch: Batch, step: int) -> Losses:
        """Return the losses of one step, and update buffers with an entry per training image.

        Args:
            batch: the images of the step.
            step: number of steps of this stage made before this one.
        """

    @abstractmethod
    def predict(self, images: Tensor) -> Tensor:
        """Return logits.

        Args:
            images: float, [R, B, 3, H, W], or [1, B, 3, H, W] shared by all replicas.

        Returns:
            [R, B, C].
        """

    def predict_branches(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the logits of `predict`, and those of the bias branch.

        One method for both, so that shared computations are done once.

        Args:
            images: see `predict`.

        Returns:
            [R, B, C] each; the second is None if the method has no bias branch.
        """
        return self.predict(images), None

    def image_losses(self) -> Mapping[str, Tensor]:
        """Return moving averages of the losses of all training images, by name: [R, N] each.

        They become columns `loss_average_<name>` of the catalog's `sample_weights`.
        """
        return {}

    def image_weights(self) -> Tensor | None:
        """Return the weight that each training image would get now, [R, N], or None."""
        return None

    def weigh_unseen(
        self, logits: Tensor, bias_logits: Tensor, labels: Tensor, largest: Tensor
    ) -> Tensor:
        """Return the weight of images that the method has not trained on, on the scale of training.

        Methods that give weights and have a bias branch override this, so that images of all
        splits can be ranked by their weight.

        Args:
            logits: of `predict_branches`, [R, n, C].
            bias_logits: of the bias branch, [R, n, C].
            labels: int64, [n].
            largest: for each class, the largest entry of `image_losses` among training images: of
                the debiased and of the bias branch, [R, 2, C]; NaN if the method has no averages.

        Returns:
            [R, n].
        """
        raise NotImplementedError

    @classmethod
    def is_oracle(cls) -> bool:
        """Return whether the method is trained with bias labels."""
        return cls.bias_labels in ORACLE_LABELS

    @classmethod
    def ranks_images(cls) -> bool:
        """Return whether the method weighs images of all splits: it overrides `weigh_unseen`."""
        return cls.weigh_unseen is not Method.weigh_unseen

    def replica_state(self, replica: int) -> dict[str, Tensor]:
        """Return a copy of one replica's networks: name → tensor without the replica axis."""
        return {
            name: tensor.detach().to("cpu", copy=True)
            for name, tensor in self._of_replica(replica).items()
        }

    @torch.no_grad()
    def load_replica_states(self, states: Sequence[Mapping[str, Tensor]]) -> None:
        """Set the networks of all replicas.

        Args:
            states: results of `replica_state`, one per replica in order.

        Raises:
            ValueError: if names or shapes differ from those of this method's networks.
        """
        for replica, state in enumerate(states):
            mine = self._of_replica(replica)
            check_same_tensors(state, mine)
            for name, tensor in mine.items():
                tensor.copy_(state[name])

    def published_networks(self, replica: int) -> dict[str, dict[str, Tensor]]:
        """Return one replica's networks as published code stores them: file suffix → state dict.

        Empty if the method has no published checkpoint format.
        """
        del replica
        return {}

    def load_published_networks(
        self, replica: int, networks: Mapping[str, Mapping[str, Tensor]]
    ) -> None:
        """Set one replica from the result of `published_networks`.

        Raises:
            ValueError: if names or shapes differ from those of this method's networks, or the
                method has no published checkpoint format.
        """
        raise ValueError(f"{self.name} has no published checkpoint format")

    def _of_replica(self, replica: int) -> dict[str, Tensor]:
        """Return views of one replica's parameters and buffers."""
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
