"""AFR: automatic feature reweighting, which trains the last layer again.

Qiu, Potapczynski, Izmailov & Wilson, "Simple and Fast Group Robustness by Automatic Feature
Reweighting", ICML 2023, arXiv 2306.11074. As in the published code, the gradient of the head is
clipped to norm 1. The optional factor of the class frequency in the weights is left out.
"""

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from debias_pipeline.losses import cross_entropy
from debias_pipeline.methods.base import Recipe, Run
from debias_pipeline.methods.last_layer import LastLayerMethod, LastLayerRecipe


class AfrRecipe(LastLayerRecipe):
    """Hyper-parameters of AFR.

    Attributes:
        weight_gamma: γ, how fast weights fall with the probability of the label.
        lambda_head: λ, weight of the squared distance between the two heads.
    """

    weight_gamma: float = Field(ge=0, allow_inf_nan=False)
    lambda_head: float = Field(default=0.0, ge=0, allow_inf_nan=False)


class Afr(LastLayerMethod):
    """Train on 80 % of the images, then the head on the others, hard ones with larger weights."""

    name: ClassVar[str] = "afr"
    recipe_type: ClassVar[type[Recipe]] = AfrRecipe
    weight_name: ClassVar[str] = "weight M · µ"
    recipe: AfrRecipe
    _weights: Tensor
    _images: int

    def head_images(self, heldout: Tensor, run: Run) -> Tensor:
        """Return all images that the first stage leaves out."""
        weights = self.head.weight.new_zeros(heldout.shape)
        self.register_buffer("_weights", weights, persistent=False)
        self._images = len(run.labels("train"))
        return heldout

    def prepare_head(self, features: Tensor) -> None:
        """Store the weights of the second stage's images, and copy the first head."""
        logits = self.first_head(self._stored.unsqueeze(1))[:, 0]
        self._weights.copy_(self._weigh(logits, self._labels))
        self.head.load_state_dict(self.first_head.state_dict())

    def head_losses(self) -> Tensor:
        """Return L = Σ µ · CE + λ · |W − W₀|²; W are the weights and biases of the head."""
        return self._clipped(self._head_loss())

    def image_weights(self) -> Tensor | None:
        """Return M · µ, [R, N], whose mean over the M images is 1; NaN for the first stage's."""
        count = self._weights.shape[1]
        # No buffer, as NaN is not equal to itself when thread counts are compared.
        unknown = self._weights.new_full((self.task.replicas, self._images), float("nan"))
        return unknown.scatter(1, self._index, count * self._weights)

    def _weigh(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return µ ∝ exp(−γ · p), p the probability of the label; the sum of a replica is 1."""
        of_label = torch.exp(-cross_entropy(logits, labels))
        return torch.softmax(-self.recipe.weight_gamma * of_label, 1)

    def _head_loss(self) -> Tensor:
        logits = self.head(self._stored.unsqueeze(1))[:, 0]
        entropy = (self._weights * cross_entropy(logits, self._labels)).sum(1)
        pairs = zip(self.head.parameters(), self.first_head.parameters(), strict=True)
        distances = [(now - first).square().flatten(1).sum(1) for now, first in pairs]
        return entropy + self.recipe.lambda_head * torch.stack(distances).sum(0)

    def _clipped(self, losses: Tensor) -> Tensor:
        """Return losses of the same value, [R], whose gradient has a norm of at most 1."""
        parameters = list(self.head.parameters())
        gradients = torch.autograd.grad(losses.sum(), parameters, retain_graph=True)
        squares = torch.stack([each.square().flatten(1).sum(1) for each in gradients])
        factors = (1 / (squares.sum(0).sqrt() + 1e-6)).clamp(max=1)
        return losses.detach() + factors * (losses - losses.detach())
