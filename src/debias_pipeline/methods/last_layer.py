"""Methods that train a network and then only its last layer, on images that it has not seen."""

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Final

import torch
from pydantic import Field
from torch import Tensor

from debias_pipeline.losses import cross_entropy
from debias_pipeline.methods.base import (
    MAIN,
    Batch,
    Losses,
    Optimiser,
    Plan,
    Recipe,
    Run,
    Sampling,
    Stage,
    Task,
    two_stages,
)
from debias_pipeline.methods.vanilla import Vanilla
from debias_pipeline.networks import StackedLinear
from debias_pipeline.randomness import generators

FIRST: Final = "erm"
# The part of the training images that the head is trained on again.
HEAD_SHARE: Final = 0.2


class LastLayerRecipe(Recipe):
    """Hyper-parameters; `steps` are updates of the head in the second stage.

    Attributes:
        first_steps: number of updates of the encoder and the first head.
        head_lr: learning rate of the second stage, gradient descent without momentum.
    """

    first_steps: int = Field(gt=0)
    head_lr: float = Field(gt=0, allow_inf_nan=False)


class LastLayerMethod(Vanilla):
    """Train an encoder and a first head on 80 % of the images, then a head alone on the others.

    Each replica has its own random division of the training images. The second stage uses the
    features of its images, without augmentation, all of them in every step. Subclasses give its
    images and its losses; `head` is the head of the second stage.
    """

    recipe: LastLayerRecipe
    _index: Tensor
    _labels: Tensor
    _stored: Tensor

    def __init__(self, recipe: Recipe, task: Task) -> None:
        """See `Method`."""
        super().__init__(recipe, task)
        initial = generators(task.seeds, f"initial weights {FIRST}")
        self.first_head = StackedLinear(self.encoder.features, task.classes, 1, initial)
        self._in_first_stage = True

    def stages(self) -> Sequence[Stage]:
        """See `Method`."""
        return two_stages(FIRST, self.recipe.first_steps, self.recipe.steps)

    def begin(self, stage: Stage, run: Run) -> Plan:
        """See `Method`."""
        self._in_first_stage = stage.name == FIRST
        if not self._in_first_stage:
            # A plan needs a stream, but `head_losses` uses the stored features.
            optimiser = Optimiser((self.head,), lambda step: self.recipe.head_lr, "sgd")
            return Plan((Sampling(1),), {MAIN: optimiser})
        labels = run.labels("train")
        orders = [
            torch.randperm(len(labels), generator=each)
            for each in generators(self.task.seeds, "images of the head")
        ]
        heldout = torch.stack(orders)[:, : math.ceil(HEAD_SHARE * len(labels))]
        counts = torch.ones(len(orders), len(labels), dtype=torch.int64).scatter_(1, heldout, 0)
        index, device = self.head_images(heldout, run), self.head.weight.device
        stored = self.head.weight.new_zeros(*index.shape, self.encoder.features)
        self.register_buffer("_index", index.to(device), persistent=False)
        self.register_buffer("_labels", labels[index].to(device), persistent=False)
        self.register_buffer("_stored", stored, persistent=False)
        optimiser = Optimiser.of_recipe(self.recipe, self.encoder, self.first_head)
        sampling = Sampling(self.recipe.batch_size, "counts", counts)
        return Plan((sampling,), {MAIN: optimiser})

    @torch.no_grad()
    def end(self, stage: Stage, run: Run) -> None:
        """Store the features of the second stage's images, and prepare its head."""
        if stage.name == FIRST:
            features = run.sweep(self._features).to(self._stored.dtype)
            rows = self._index.unsqueeze(2).expand(-1, -1, features.shape[2])
            self._stored.copy_(features.gather(1, rows))
            self.prepare_head(features)

    def losses(self, batch: Batch, step: int) -> Losses:
        """Return the mean cross-entropy; in the second stage `head_losses`, without the batch."""
        del step
        if not self._in_first_stage:
            return Losses(self.head_losses())
        logits = self.first_head(self.encoder(batch.images))[:, 0]
        return Losses(cross_entropy(logits, batch.labels).mean(1))

    @abstractmethod
    def head_images(self, heldout: Tensor, run: Run) -> Tensor:
        """Return the images of the second stage, and create further buffers.

        Args:
            heldout: positions of the images that the first stage leaves out, [R, n], on the CPU.
            run: see `begin`.

        Returns:
            Positions in the training split, int64, [R, M], on the CPU.
        """

    @abstractmethod
    def prepare_head(self, features: Tensor) -> None:
        """Prepare the second stage, once `_stored` has the features of its images, [R, M, F].

        Args:
            features: of all training images, [R, N, F].
        """

    @abstractmethod
    def head_losses(self) -> Tensor:
        """Return the losses of the second stage, [R]."""
