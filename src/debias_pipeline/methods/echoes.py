"""Echoes: weights from the errors of a network that is kept biased.

The method of the public repository isruihu/Echoes, by Hu et al. Written from the published code,
which this follows with one exception:

- The bias branch stays in eval mode after the first pass, as in the code, so that its batch
  normalisation uses fixed statistics from then on.
- In the first pass the weights of the debiased branch are 0. It makes no step then; in the code,
  weight decay alone moves it.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar, Final

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
    Update,
)
from debias_pipeline.methods.classifier import Classifier
from debias_pipeline.methods.vanilla import Vanilla

BIAS: Final = "bias"
# Factor of the debiased branch's loss.
FACTOR: Final = 1000
EPSILON: Final = 1e-8


class EchoesRecipe(Recipe):
    """Hyper-parameters of Echoes.

    Attributes:
        error_threshold: weights of a class change if the bias branch is wrong on a smaller
            fraction of its images.
        alpha: factor of the bias branch's weight of an image that it is wrong on.
    """

    error_threshold: float = Field(default=0.5, ge=0, le=1)
    alpha: float = Field(default=0.5, gt=0, le=1)


class Echoes(Vanilla):
    """Give less weight to images that the bias branch f_b gets wrong, for f_d the opposite.

    After each pass, f_b predicts all training images. In classes with few errors, its weight w_b
    of wrong images is reduced, so that it learns the bias only. The weight w_d of an image for
    f_d is the inverse, with the same sum for each class. f_d is vanilla's network.
    """

    name: ClassVar[str] = "echoes"
    recipe_type: ClassVar[type[Recipe]] = EchoesRecipe
    loss_terms: ClassVar[Mapping[str, str]] = {"loss_intrinsic": "intrinsic", "loss_bias": "bias"}
    weight_name: ClassVar[str] = "weight w_d"
    recipe: EchoesRecipe
    _labels: Tensor
    _of_class: Tensor
    _bias_weights: Tensor
    _weights: Tensor

    def __init__(self, recipe: Recipe, task: Task) -> None:
        """See `Method`."""
        super().__init__(recipe, task)
        self.biased = Classifier(recipe, task, BIAS)
        self._steps_per_pass = 1

    def stages(self) -> Sequence[Stage]:
        """See `Method`: the length of a pass is not known from the recipe."""
        return (Stage(MAIN, self.recipe.steps, every=1),)

    def begin(self, stage: Stage, run: Run) -> Plan:
        """See `Method`."""
        del stage
        recipe, labels = self.recipe, run.labels("train")
        self._steps_per_pass = max(1, len(labels) // recipe.batch_size)
        weights = self.head.weight.new_zeros(self.task.replicas, len(labels)).detach()
        labels = labels.to(weights.device)
        of_class = torch.nn.functional.one_hot(labels, self.task.classes).to(weights.dtype)
        self.register_buffer("_labels", labels, persistent=False)
        self.register_buffer("_of_class", of_class, persistent=False)
        self.register_buffer("_bias_weights", torch.ones_like(weights), persistent=False)
        self.register_buffer("_weights", weights, persistent=False)
        optimisers = {
            MAIN: Optimiser.of_recipe(recipe, self.encoder, self.head),
            BIAS: Optimiser.of_recipe(recipe, self.biased),
        }
        return Plan((Sampling(recipe.batch_size),), optimisers)

    def updates(self, batches: Sequence[Batch], step: int) -> Iterator[Update]:
        """See `Method`: in the first pass, an update of f_b only."""
        in_first_pass = step < self._steps_per_pass
        self.biased.train(in_first_pass)
        yield Update(self.losses(batches[0], step), (BIAS,) if in_first_pass else (MAIN, BIAS))

    def losses(self, batch: Batch, step: int) -> Losses:
        """Return L = mean(w_b · CE(f_b)) + 1000 · mean(w_d · CE(f_d)); the first pass has w_d = 0.

        The term of f_d is recorded without the factor.
        """
        bias_weights = self._bias_weights.gather(1, batch.index)
        bias_losses = cross_entropy(self.biased(batch.images), batch.labels)
        bias = (bias_weights * bias_losses).mean(1)
        terms = {"loss_bias": bias.detach()}
        weights = self._weights.gather(1, batch.index)
        if step < self._steps_per_pass:
            return Losses(bias, terms, weights)
        losses = cross_entropy(self.predict(batch.images), batch.labels)
        intrinsic = (weights * losses).mean(1)
        terms = {"loss_intrinsic": intrinsic.detach(), **terms}
        return Losses(bias + FACTOR * intrinsic, terms, weights)

    def on_interval(self, stage: Stage, step: int, run: Run) -> None:
        """Update the weights of all images at the end of each pass."""
        del stage
        if step % self._steps_per_pass == 0:
            predicted = run.sweep(lambda images: self.biased(images).argmax(-1))
            self._update_weights(predicted != self._labels)

    def predict_branches(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the logits of f_d and of f_b."""
        return self.predict(images), self.biased(images)

    def image_weights(self) -> Tensor | None:
        """Return w_d, [R, N]."""
        return self._weights

    @torch.no_grad()
    def _update_weights(self, wrong: Tensor) -> None:
        """Update w_b and w_d from what f_b gets wrong, bool, [R, N].

        The published code multiplies w_d of a class by the product of the sums of all classes,
        divided by that of the class. The product is the same for all images and is left out, as
        w_d is divided by its maximum.
        """
        sums = self._of_class.sum(0)
        errors = wrong.to(sums.dtype) @ self._of_class
        reduced = wrong & (errors < self.recipe.error_threshold * sums)[:, self._labels]
        self._bias_weights.mul_(torch.where(reduced, self.recipe.alpha, 1.0))
        self._bias_weights.div_(self._bias_weights.amax(1, keepdim=True) + EPSILON)
        weights = 1 / (self._bias_weights + EPSILON)
        weights = weights / (weights @ self._of_class)[:, self._labels]
        self._weights.copy_(weights / weights.amax(1, keepdim=True))
