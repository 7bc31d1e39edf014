"""What methods with an intrinsic and a bias branch share: weighing images by the two."""

from abc import abstractmethod
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from debias_pipeline.losses import (
    BIAS,
    INTRINSIC,
    ClassNormalisedAverage,
    generalised_cross_entropy_factor,
    relative_difficulty,
)
from debias_pipeline.methods.base import Method, Recipe, Task


class TwoBranchRecipe(Recipe):
    """Hyper-parameters of a method that weighs images by relative difficulty.

    Attributes:
        q: exponent of the generalised cross-entropy.
        alpha: α, share of the old value that a moving average keeps.
    """

    q: float = Field(default=0.7, ge=0, le=1)
    alpha: float = Field(default=0.7, ge=0, lt=1)


class TwoBranchMethod(Method):
    """A method whose bias branch learns the shortcut and so tells which images go against it.

    The weight W of an image is its relative difficulty: by moving averages of each branch's
    cross-entropy, how much harder the bias branch finds the image than the intrinsic branch
    does. A method that weighs otherwise has a `weigh` of its own. Prediction is by the intrinsic
    branch.
    """

    recipe_type: ClassVar[type[Recipe]] = TwoBranchRecipe
    recipe: TwoBranchRecipe

    @abstractmethod
    def __init__(self, recipe: Recipe, task: Task) -> None:
        """See `Method`."""
        super().__init__(recipe, task)
        self._averages: ClassNormalisedAverage | None = None

    def begin_training(self, labels: Tensor) -> None:
        """Make the two moving averages per training image."""
        averages = ClassNormalisedAverage(
            labels, self.task.classes, self.task.replicas, branches=2, alpha=self.recipe.alpha
        )
        self._averages = averages.to(next(self.parameters()).device)

    @abstractmethod
    def branch_logits(self, images: Tensor) -> Tensor:
        """Logits of both branches, [R, 2, B, C]; for the images see `predict`."""

    def predict(self, images: Tensor) -> Tensor:
        """See `Method`: the intrinsic branch's logits."""
        return self.branch_logits(images)[:, INTRINSIC]

    def predict_branches(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """See `Method`."""
        logits = self.branch_logits(images)
        return logits[:, INTRINSIC], logits[:, BIAS]

    def image_losses(self) -> dict[str, Tensor]:
        """The moving averages of both branches, not divided by the class maxima."""
        if self._averages is None:
            return {}
        averages = self._averages.of_all_images()
        return {"intrinsic": averages[:, INTRINSIC], "bias": averages[:, BIAS]}

    def image_weights(self) -> Tensor | None:
        """W of every training image by its moving averages as they stand, [R, N]."""
        if self._averages is None:
            return None
        return self.weigh(self._averages.of_all_images_normalised())

    def weigh(self, normalised: Tensor) -> Tensor:
        """W of images, in `losses` and in `sample_weights`.

        Args:
            normalised: moving averages of both branches' cross-entropies, divided by the largest
                of their class: float32 in 0..1, [R, 2, n].

        Returns:
            [R, n].
        """
        return relative_difficulty(normalised)

    def bias_factors(self, losses: Tensor, index: Tensor) -> Tensor:
        """Return the factors of the bias branch's cross-entropies, constants to the gradient.

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
        """Return the method's loss from cross-entropies, and its terms.

        W and `bias_factors` are constants to the gradient, so that all of it flows through the
        cross-entropies, each times one number.

        Args:
            losses: cross-entropies of both branches, [R, 2, S, B]: S kinds of features; those of
                kind 0, the images' own, enter the moving averages.
            index: int64, [R, B], positions in the training split.
            shares: factors of the terms in the loss, [2, S].

        Returns:
            The loss, [R]; its terms, [R, 2, S], detached: mean(W · CE) of the intrinsic branch,
            mean(`bias_factors` · CE) of the bias branch; W of each image after its losses have
            entered the averages, [R, B].
        """
        if self._averages is None:
            raise RuntimeError("begin_training was not called")
        with torch.no_grad():
            values = losses.detach()
            weights = self.weigh(self._averages.update(index, values[:, :, 0]))
            of_intrinsic = weights.unsqueeze(1).expand_as(values[:, INTRINSIC])
            of_bias = self.bias_factors(values[:, BIAS], index)
            factors = torch.stack([of_intrinsic, of_bias], 1)
            means = (factors * values).mean(-1)
            factors *= shares.unsqueeze(-1) / index.shape[1]
        return (losses * factors).sum((1, 2, 3)), means, weights
