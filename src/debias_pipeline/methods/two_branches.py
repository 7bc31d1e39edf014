"""Base class of methods that weight images by an intrinsic and a bias branch."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from debias_pipeline.losses import (
    ClassNormalisedAverage,
    cross_entropy,
    generalised_cross_entropy_factor,
)
from debias_pipeline.methods.base import Method, Recipe, Task

# Positions of the branches on the branch axis K.
INTRINSIC, BIAS = 0, 1


def relative_difficulty(normalised: Tensor) -> Tensor:
    """Return W = b / (b + d + 1e-8): near 1 if only the bias branch finds an image hard.

    This is the relative difficulty score of Nam et al. (NeurIPS 2020). As in the published code,
    averages are divided by the largest of their class.

    Args:
        normalised: moving averages of both branches' losses in 0..1, [R, 2, B].

    Returns:
        [R, B], in 0..1.
    """
    bias, intrinsic = normalised[:, BIAS], normalised[:, INTRINSIC]
    return bias / (bias + intrinsic + 1e-8)


class TwoBranchRecipe(Recipe):
    """Hyper-parameters of a method that weights images by relative difficulty.

    Attributes:
        q: exponent of the generalised cross-entropy.
        alpha: α, weight of the old value in a moving average.
    """

    q: float = Field(default=0.7, ge=0, le=1)
    alpha: float = Field(default=0.7, ge=0, lt=1)


class TwoBranchMethod(Method):
    """A method whose bias branch learns the bias and so finds the images that go against it.

    The weight W of an image is its relative difficulty, from moving averages of each branch's
    cross-entropy: how much harder the image is for the bias branch than for the intrinsic branch.
    Subclasses override `weigh` for other weights. The intrinsic branch makes the predictions.
    """

    recipe_type: ClassVar[type[Recipe]] = TwoBranchRecipe
    loss_terms: ClassVar[Mapping[str, str]] = {"loss_intrinsic": "intrinsic", "loss_bias": "bias"}
    weight_name: ClassVar[str] = "weight W"
    recipe: TwoBranchRecipe

    @abstractmethod
    def __init__(self, recipe: Recipe, task: Task) -> None:
        """See `Method`."""
        super().__init__(recipe, task)
        self._averages: ClassNormalisedAverage | None = None

    def begin_training(self, labels: Tensor) -> None:
        """Create the moving averages of both branches."""
        averages = ClassNormalisedAverage(
            labels, self.task.classes, self.task.replicas, branches=2, alpha=self.recipe.alpha
        )
        self._averages = averages.to(next(self.parameters()).device)

    @abstractmethod
    def branch_logits(self, images: Tensor) -> Tensor:
        """Return the logits of both branches, [R, 2, B, C], for images as in `predict`."""

    def predict(self, images: Tensor) -> Tensor:
        """See `Method`: the intrinsic branch's logits."""
        return self.branch_logits(images)[:, INTRINSIC]

    def predict_branches(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """See `Method`."""
        logits = self.branch_logits(images)
        return logits[:, INTRINSIC], logits[:, BIAS]

    def image_losses(self) -> dict[str, Tensor]:
        """Return the moving averages of both branches, not divided by class maxima."""
        if self._averages is None:
            return {}
        averages = self._averages.of_all_images()
        return {"intrinsic": averages[:, INTRINSIC], "bias": averages[:, BIAS]}

    def image_weights(self) -> Tensor | None:
        """Return W of every training image from the present moving averages, [R, N]."""
        if self._averages is None:
            return None
        return self.weigh(self._averages.of_all_images_normalised())

    def weigh(self, normalised: Tensor) -> Tensor:
        """Return the weight W of images, in `losses` and in `sample_weights`.

        Args:
            normalised: moving averages of both branches' cross-entropies, divided by the largest
                of their class: float32 in 0..1, [R, 2, n].

        Returns:
            [R, n].
        """
        return relative_difficulty(normalised)

    def weigh_unseen(
        self, logits: Tensor, bias_logits: Tensor, labels: Tensor, largest: Tensor
    ) -> Tensor:
        """Return W from the present losses of both branches instead of moving averages.

        They are divided by the largest average of a training image of the class, see `Method`, and
        are at most 1, as those of training images.
        """
        of_class = largest[:, :, labels].clamp_min(torch.finfo(largest.dtype).tiny)
        branches = torch.stack([logits, bias_logits], 1)
        losses = cross_entropy(branches, labels.expand(branches.shape[:-1]))
        return self.weigh((losses / of_class).clamp_max(1))

    def bias_factors(self, losses: Tensor, index: Tensor) -> Tensor:
        """Return the factors of the bias branch's cross-entropies, which have no gradient.

        Args:
            losses: cross-entropies of the bias branch, detached, [R, S, B].
            index: int64, [R, B], positions in the training split.

        Returns:
            [R, S, B]; by default those of the generalised cross-entropy.
        """
        del index
        return generalised_cross_entropy_factor(losses, self.recipe.q)

    def weighted_loss(
        self, losses: Tensor, index: Tensor, shares: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the loss as a weighted sum of cross-entropies.

        W and `bias_factors` have no gradient: every cross-entropy is multiplied by a constant.

        Args:
            losses: cross-entropies of both branches, [R, 2, S, B], for S kinds of features. Kind 0,
                the image's own features, enters the moving averages.
            index: int64, [R, B], positions in the training split.
            shares: factors of the terms in the loss, [2, S].

        Returns:
            The loss, [R]; its terms, [R, 2, S], detached: mean(W · CE) of the intrinsic branch and
            mean(`bias_factors` · CE) of the bias branch; W of each image after the update of the
            averages, [R, B].
        """
        if self._averages is None:
            raise RuntimeError("the moving averages do not exist; call begin_training first")
        with torch.no_grad():
            values = losses.detach()
            weights = self.weigh(self._averages.update(index, values[:, :, 0]))
            of_intrinsic = weights.unsqueeze(1).expand_as(values[:, INTRINSIC])
            of_bias = self.bias_factors(values[:, BIAS], index)
            factors = torch.stack([of_intrinsic, of_bias], 1)
            means = (factors * values).mean(-1)
            factors *= shares.unsqueeze(-1) / index.shape[1]
        return (losses * factors).sum((1, 2, 3)), means, weights
