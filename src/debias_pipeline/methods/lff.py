"""LfF: learning from failure.

Nam, Cha, Ahn, Lee & Shin, "Learning from Failure: Training Debiased Classifier from Biased
Classifier", NeurIPS 2020, arXiv 2007.02561. The class-wise normalisation of the moving averages
is that of its published code.
"""

from typing import ClassVar

from torch import Tensor

from debias_pipeline.losses import cross_entropy
from debias_pipeline.methods.base import Batch, Losses, Recipe, Task
from debias_pipeline.methods.two_branches import TwoBranchMethod, TwoBranchRecipe
from debias_pipeline.networks import StackedLinear, build_encoder
from debias_pipeline.randomness import generators


class Lff(TwoBranchMethod):
    """Two networks of one architecture: f_b learns the bias, f_d the images that f_b gets wrong."""

    name: ClassVar[str] = "lff"
    recipe_type: ClassVar[type[Recipe]] = TwoBranchRecipe

    def __init__(self, recipe: Recipe, task: Task) -> None:
        """See `Method`."""
        super().__init__(recipe, task)
        initial = generators(task.seeds, "initial weights")
        self.encoder = build_encoder(recipe.network, task.image_shape, 2, initial, recipe.weights)
        self.heads = StackedLinear(self.encoder.features, task.classes, 2, initial)

    def losses(self, batch: Batch, step: int) -> Losses:
        """Return L = mean(W · CE(f_d)) + mean(GCE(f_b)); each term trains its own network only."""
        del step
        labels = batch.labels.unsqueeze(1).expand(-1, 2, -1)
        losses = cross_entropy(self.branch_logits(batch.images), labels)
        shares = losses.new_ones(2, 1)
        total, means, weights = self.weighted_loss(losses.unsqueeze(2), batch.index, shares)
        intrinsic, bias = means.squeeze(2).unbind(1)
        return Losses(total, {"loss_intrinsic": intrinsic, "loss_bias": bias}, weights)

    def branch_logits(self, images: Tensor) -> Tensor:
        """See `TwoBranchMethod`: f_d and f_b."""
        logits: Tensor = self.heads(self.encoder(images))
        return logits
