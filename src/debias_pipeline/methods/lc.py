"""LC: logit correction.

Liu, Zhang, Sekhar, Wu, Singhal & Fernandez-Granda, "Avoiding Spurious Correlations via Logit
Correction", ICLR 2023, arXiv 2212.01433. Where paper and published code differ, this follows the
default of the code:

- the matrix M is averaged image by image, in the order of the batch (paper: a moving average of
  batch estimates, equation 9);
- the weight of the partner in a mix is 1 - lambda with lambda uniform in (1 - 2t, 1 - t), so that
  images are hardly mixed at the start (paper: a partner weight in (0.5, 1) at every step).
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar, Final

import torch
from pydantic import Field
from torch import Tensor

from debias_pipeline.losses import cross_entropy, generalised_cross_entropy_factor
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
from debias_pipeline.methods.mixing import mix
from debias_pipeline.methods.vanilla import Vanilla
from debias_pipeline.networks import as_floats

BIAS: Final = "bias"
# Learning rate of f_b as a fraction of that of f_d.
BIAS_RATE: Final = 0.1
# Added to corrections, so that their logarithm is finite.
EPSILON: Final = 1e-4


class LcRecipe(Recipe):
    """Hyper-parameters of LC.

    Attributes:
        q: exponent of the generalised cross-entropy of f_b.
        alpha: weight of the old value in the moving averages of M.
        tau: temperature of f_b's probabilities.
        lambda_dis: weight of f_b's loss.
        normalise_columns: whether each column of M is divided by its sum.
        mixup_steps: number of steps over which the largest share of partners grows to 1.
    """

    q: float = Field(default=0.7, ge=0, le=1)
    alpha: float = Field(default=0.995, ge=0, lt=1)
    tau: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    lambda_dis: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    normalise_columns: bool = True
    mixup_steps: int = Field(default=10000, ge=0)


class Lc(Vanilla):
    """Correct the logits of f_d by how often labels go together with what f_b predicts.

    f_d is vanilla's network. The prediction of f_b is the pseudo-attribute of an image; value k
    is assumed to be the one that class k is biased to. M[y, a] is a moving average of the
    probability that f_b gives to the label, over images of label y and pseudo-attribute a.
    """

    name: ClassVar[str] = "lc"
    recipe_type: ClassVar[type[Recipe]] = LcRecipe
    loss_terms: ClassVar[Mapping[str, str]] = {"loss_intrinsic": "intrinsic", "loss_bias": "bias"}
    recipe: LcRecipe
    _matrix: Tensor
    _visited: Tensor
    _numbers: Tensor

    def __init__(self, recipe: Recipe, task: Task) -> None:
        """See `Method`."""
        super().__init__(recipe, task)
        self.biased = Classifier(recipe, task, BIAS)
        self._mixers = self.random_stream("group mix-up")
        shape = (task.replicas, task.classes, task.classes)
        self.register_buffer("_matrix", torch.zeros(shape), persistent=False)
        self.register_buffer("_visited", torch.zeros(shape, dtype=torch.bool), persistent=False)
        self.register_buffer("_numbers", torch.arange(task.classes), persistent=False)

    def begin(self, stage: Stage, run: Run) -> Plan:
        """See `Method`."""
        del stage, run
        recipe = self.recipe
        of_bias = replace(
            Optimiser.of_recipe(recipe, self.biased),
            learning_rate=lambda step: BIAS_RATE * recipe.learning_rate(step),
        )
        main = Optimiser.of_recipe(recipe, self.encoder, self.head)
        return Plan((Sampling(recipe.batch_size),), {MAIN: main, BIAS: of_bias})

    def updates(self, batches: Sequence[Batch], step: int) -> Iterator[Update]:
        """See `Method`: one update of both networks."""
        yield Update(self.losses(batches[0], step), (MAIN, BIAS))

    def losses(self, batch: Batch, step: int) -> Losses:
        """Return L = mean CE(f_d(x') + log(D' + 1e-4)) + lambda_dis * mean GCE(f_b(x)).

        x' and D' are images and their corrections (columns of M), each mixed with those of a
        partner of the same class.
        """
        labels, bias_logits = batch.labels, self.biased(batch.images)
        bias_losses = cross_entropy(bias_logits, labels)
        with torch.no_grad():
            probabilities = (bias_logits.to(self._matrix.dtype) / self.recipe.tau).softmax(-1)
            attributes = probabilities.argmax(-1)
            of_label = probabilities.gather(2, labels.unsqueeze(2)).squeeze(2)
            self._update_matrix(labels, attributes, of_label)
            partners, shares = self._draw_partners(labels, attributes, step)
            mixed = mix(as_floats(batch.images), partners, shares)
            corrections = mix(self._corrections(attributes), partners, shares)
            factors = generalised_cross_entropy_factor(bias_losses, self.recipe.q)
        logits = self.predict(mixed) + torch.log(corrections + EPSILON)
        intrinsic = cross_entropy(logits, labels).mean(1)
        bias = (factors * bias_losses).mean(1)
        terms = {"loss_intrinsic": intrinsic.detach(), "loss_bias": bias.detach()}
        return Losses(intrinsic + self.recipe.lambda_dis * bias, terms)

    def predict_branches(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the logits of f_d, without correction, and of f_b."""
        return self.predict(images), self.biased(images)

    def mixup_ramp(self, step: int) -> float:
        """Return t, 0.5 at the end of the ramp: partners have a share between t and 2t."""
        steps = self.recipe.mixup_steps
        done = min(step / steps, 1) if steps else 1
        return 0.5 * math.exp(-5 * (1 - done) ** 2)

    def _update_matrix(self, labels: Tensor, attributes: Tensor, values: Tensor) -> None:
        """Update M by one image after another, in closed form for each of its cells.

        The share of an image decays with each later image of the batch in the same cell. The first
        image ever of a cell has no old value to be averaged with.

        Args:
            labels: int64, [R, B].
            attributes: int64, [R, B].
            values: probabilities of the labels, [R, B].
        """
        alpha = self.recipe.alpha
        cells = labels * self.task.classes + attributes
        same = cells.unsqueeze(2) == cells.unsqueeze(1)
        is_first = ~same.tril(-1).any(2) & ~self._visited.flatten(1).gather(1, cells)
        shares = torch.where(is_first, 1.0, 1 - alpha) * alpha ** same.triu(1).sum(2)
        of_label = (labels.unsqueeze(1) == self._numbers.unsqueeze(1)).to(values.dtype)
        of_attribute = (attributes.unsqueeze(2) == self._numbers).to(values.dtype)
        with torch.autocast(values.device.type, enabled=False):
            counts = of_label @ of_attribute
            sums = (of_label * (shares * values).unsqueeze(1)) @ of_attribute
        # The entry of a cell that was never visited is 0.
        self._matrix.mul_(alpha**counts).add_(sums)
        self._visited.logical_or_(counts > 0)

    def _corrections(self, attributes: Tensor) -> Tensor:
        """Return the column of M of each image's pseudo-attribute, [R, B, C]."""
        matrix = self._matrix
        if self.recipe.normalise_columns:
            sums = matrix.sum(1, keepdim=True)
            matrix = matrix / sums.clamp_min(torch.finfo(sums.dtype).tiny)
        columns = attributes.unsqueeze(2).expand(-1, -1, self.task.classes)
        return matrix.mT.gather(1, columns)

    def _draw_partners(
        self, labels: Tensor, attributes: Tensor, step: int
    ) -> tuple[Tensor, Tensor]:
        """Draw a partner of the same class for each image of a batch.

        Partners have another pseudo-attribute than their label and are drawn with replacement. In
        a class without such images, partners are a permutation of the class.

        Returns:
            Positions in the batch, int64, [R, B]; the share of the image itself in a mix,
            [R, 1].
        """
        size, limit = labels.shape[1], self.mixup_ramp(step)
        uniform = torch.stack([torch.rand(size + 1, generator=each) for each in self._mixers])
        orders = torch.stack([torch.randperm(size, generator=each) for each in self._mixers])
        uniform = uniform.to(labels.device, non_blocking=True)
        orders = orders.to(labels.device, non_blocking=True)
        candidates = labels.unsqueeze(2) == labels.unsqueeze(1)
        candidates &= (attributes != labels).unsqueeze(1)
        found = candidates.cumsum(2)
        picks = (uniform[:, 1:] * found[:, :, -1]).long()
        drawn = (found <= picks.unsqueeze(2)).sum(2)
        by_class = labels.sort(stable=True, dim=1).indices
        shuffled = torch.empty_like(drawn).scatter_(
            1, by_class, (labels * size + orders).argsort(1)
        )
        return (
            torch.where(found[:, :, -1] > 0, drawn, shuffled),
            1 - 2 * limit + limit * uniform[:, :1],
        )
