"""JTT: just train twice.

Liu, Haghgoo, Chen, Raghunathan, Koh, Sagawa, Liang & Finn, "Just Train Twice: Improving Group
Robustness without Training Group Information", ICML 2021, arXiv 2107.09044.

The error set comes from a pass over the training images in eval mode after the first stage, as in
re-implementations. The authors' code uses predictions recorded during the last epoch of the first
stage, each before the update with its image.
"""

from collections.abc import Sequence
from typing import ClassVar

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
from debias_pipeline.networks import StackedLinear, build_encoder
from debias_pipeline.randomness import generators

FIRST = "erm"


class JttRecipe(Recipe):
    """Hyper-parameters of JTT.

    Attributes:
        first_steps: number of updates of the first network.
        up: number of additional times that an image of the error set is drawn per pass for the
            second network.
    """

    first_steps: int = Field(gt=0)
    up: int = Field(ge=0)


class Jtt(Vanilla):
    """Train a first network briefly, then a second one on its errors more often.

    The error set, the training images that the first network gets wrong, is drawn more often in the
    training of the second network. The first network is the bias branch.
    """

    name: ClassVar[str] = "jtt"
    recipe_type: ClassVar[type[Recipe]] = JttRecipe
    weight_name: ClassVar[str] = "times drawn per pass"
    recipe: JttRecipe
    _errors: Tensor

    def __init__(self, recipe: Recipe, task: Task) -> None:
        """See `Method`."""
        super().__init__(recipe, task)
        initial = generators(task.seeds, f"initial weights {FIRST}")
        self.first_encoder = build_encoder(
            recipe.network, task.image_shape, 1, initial, recipe.weights
        )
        self.first_head = StackedLinear(self.first_encoder.features, task.classes, 1, initial)
        self._in_first_stage = True

    def stages(self) -> Sequence[Stage]:
        """See `Method`."""
        return two_stages(FIRST, self.recipe.first_steps, self.recipe.steps)

    def begin(self, stage: Stage, run: Run) -> Plan:
        """See `Method`."""
        self._in_first_stage = stage.name == FIRST
        if self._in_first_stage:
            shape = (self.task.replicas, len(run.labels("train")))
            errors = torch.zeros(shape, dtype=torch.bool, device=self.head.weight.device)
            self.register_buffer("_errors", errors, persistent=False)
            sampling = Sampling(self.recipe.batch_size)
            networks = (self.first_encoder, self.first_head)
        else:
            sampling = Sampling(self.recipe.batch_size, "counts", self._repetitions().cpu())
            networks = (self.encoder, self.head)
        return Plan((sampling,), {MAIN: Optimiser.of_recipe(self.recipe, *networks)})

    def end(self, stage: Stage, run: Run) -> None:
        """Store the images that the first network gets wrong."""
        if stage.name == FIRST:
            predicted = run.sweep(lambda images: self._first_logits(images).argmax(-1))
            self._errors.copy_(predicted != run.labels("train").to(predicted.device))

    def losses(self, batch: Batch, step: int) -> Losses:
        """Return the mean cross-entropy of the network that the stage trains."""
        del step
        logits = (self._first_logits if self._in_first_stage else self.predict)(batch.images)
        return Losses(cross_entropy(logits, batch.labels).mean(1))

    def predict_branches(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """See `Method`."""
        return self.predict(images), self._first_logits(images)

    def image_weights(self) -> Tensor | None:
        """Return how many times each image is drawn in a pass of the second stage."""
        return self._repetitions().float()

    def weigh_unseen(
        self, logits: Tensor, bias_logits: Tensor, labels: Tensor, largest: Tensor
    ) -> Tensor:
        """Return how many times images would be drawn if they were training images."""
        del logits, largest
        return self._times_drawn(bias_logits.argmax(-1) != labels).float()

    def _first_logits(self, images: Tensor) -> Tensor:
        logits: Tensor = self.first_head(self.first_encoder(images))
        return logits[:, 0]

    def _repetitions(self) -> Tensor:
        """Return 1 + up · E, int64, [R, N]."""
        return self._times_drawn(self._errors)

    def _times_drawn(self, errors: Tensor) -> Tensor:
        return 1 + self.recipe.up * errors.long()
