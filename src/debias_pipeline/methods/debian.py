"""DebiAN: a discoverer network finds biases that the classifier then avoids.

Li, Hoogs & Xu, "Discover and Mitigate Unknown Biases with Debiasing Alternate Networks", ECCV 2022,
arXiv 2207.10077. With more than two classes, the discoverer has one output per class, and images
use that of their label, as in the published code. Losses of the discoverer are summed over the
classes in the batch.
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

DISCOVERER: Final = "discoverer"
EPSILON: Final = 1e-6


class DebianRecipe(Recipe):
    """Hyper-parameters of DebiAN.

    Attributes:
        penalty: λ, weight of the discoverer's loss for groups of different sizes.
    """

    penalty: float = Field(default=1.0, ge=0, allow_inf_nan=False)


class Debian(Vanilla):
    """Train a classifier C and a discoverer D in turns, on batches of their own.

    D assigns each image to one of two groups of its class with probability s, so that C gives
    different mean probabilities to the label in the two. C gives more weight, 1 + s, to the group
    with the lower mean. C is vanilla's network and makes the predictions.
    """

    name: ClassVar[str] = "debian"
    recipe_type: ClassVar[type[Recipe]] = DebianRecipe
    loss_terms: ClassVar[Mapping[str, str]] = {
        "loss_classifier": "classifier",
        "loss_discoverer": "discoverer",
    }
    weight_name: ClassVar[str] = "weight 1 + s"
    recipe: DebianRecipe
    _numbers: Tensor

    def __init__(self, recipe: Recipe, task: Task) -> None:
        """See `Method`."""
        super().__init__(recipe, task)
        self.discoverer = Classifier(recipe, task, DISCOVERER)
        self.register_buffer("_numbers", torch.arange(task.classes), persistent=False)

    def begin(self, stage: Stage, run: Run) -> Plan:
        """See `Method`: a stream of batches and an optimiser for each of the two networks."""
        del stage, run
        optimisers = {
            MAIN: Optimiser.of_recipe(self.recipe, self.encoder, self.head),
            DISCOVERER: Optimiser.of_recipe(self.recipe, self.discoverer),
        }
        return Plan((Sampling(self.recipe.batch_size),) * 2, optimisers)

    def updates(self, batches: Sequence[Batch], step: int) -> Iterator[Update]:
        """See `Method`: the network that is not updated is in eval mode."""
        for_classifier, for_discoverer = batches
        self._train_only(MAIN)
        yield Update(self.losses(for_classifier, step), (MAIN,))
        self._train_only(DISCOVERER)
        yield Update(self.discoverer_losses(for_discoverer), (DISCOVERER,))

    def losses(self, batch: Batch, step: int) -> Losses:
        """Return L_C = mean((1 + s) · CE(C)), with s of the group that C is worse on."""
        del step
        losses = cross_entropy(self.predict(batch.images), batch.labels)
        with torch.no_grad():
            groups = self._groups(batch)
            members = self._members(batch.labels)
            worse_in_second = _difference(groups, torch.exp(-losses), members) > 0
            worse_in_second = worse_in_second.gather(1, batch.labels)
            weights = 1 + torch.where(worse_in_second, 1 - groups, groups)
        total = (weights * losses).mean(1)
        return Losses(total, {"loss_classifier": total.detach()}, weights)

    def discoverer_losses(self, batch: Batch) -> Losses:
        """Return L_D = Σ_c −log(ε + |p̄₊ − p̄₋|) − λ · log(ε + 1 − |s̄ − (1 − s)̄|).

        p̄₊ and p̄₋ are C's mean probabilities of the label in the two groups of class c, s̄ is the
        mean of s over the images of class c.
        """
        with torch.no_grad():
            of_label = torch.exp(-cross_entropy(self.predict(batch.images), batch.labels))
        groups, members = self._groups(batch), self._members(batch.labels)
        difference = _difference(groups, of_label, members)
        sizes = members.sum(2)
        shares = (members * groups.unsqueeze(1)).sum(2) / sizes.clamp(min=1)
        apart = -torch.log(EPSILON + difference.abs())
        balanced = -torch.log(EPSILON + 1 - (2 * shares - 1).abs())
        total = ((apart + self.recipe.penalty * balanced) * (sizes > 0)).sum(1)
        return Losses(total, {"loss_discoverer": total.detach()})

    def _groups(self, batch: Batch) -> Tensor:
        """Return s, the probability that an image is in the first group of its class, [R, B]."""
        outputs = self.discoverer(batch.images).gather(2, batch.labels.unsqueeze(2)).squeeze(2)
        # Not in bfloat16: sums over the batch follow.
        return torch.sigmoid(outputs.to(self.head.weight.dtype))

    def _members(self, labels: Tensor) -> Tensor:
        """Return which images of a batch have which label, bool, [R, C, B]."""
        return labels.unsqueeze(1) == self._numbers.unsqueeze(1)

    def _train_only(self, name: str) -> None:
        for module in (self.encoder, self.head):
            module.train(name == MAIN)
        self.discoverer.train(name == DISCOVERER)


def _difference(groups: Tensor, values: Tensor, members: Tensor) -> Tensor:
    """Return the difference of the means of values over both groups of each class, [R, C].

    This is Σ s · v / (Σ s + ε) − Σ (1 − s) · v / (Σ (1 − s) + ε), brought to one denominator. The
    means themselves can be so close that their difference would be rounding errors, which the
    logarithm amplifies; they always are in a class with one image.

    Args:
        groups: s, probabilities of the first group, [R, B].
        values: v, [R, B].
        members: bool, [R, C, B].
    """
    sizes = members.sum(2)

    def centred(each: Tensor) -> Tensor:
        mean = (members * each.unsqueeze(1)).sum(2) / sizes.clamp(min=1)
        return members * (each.unsqueeze(1) - mean.unsqueeze(2))

    covariance = (centred(groups) * centred(values)).sum(2)
    correction = (members * (values * (2 * groups - 1)).unsqueeze(1)).sum(2)
    first = (members * groups.unsqueeze(1)).sum(2)
    denominator = (first + EPSILON) * (sizes - first + EPSILON)
    return (sizes * covariance + EPSILON * correction) / denominator
