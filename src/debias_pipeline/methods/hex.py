"""HEX: predictions from which the part that texture explains is projected out.

Wang, He, Lipton & Xing, "Learning Robust Representations by Projecting Superficial Statistics Out",
ICLR 2019. A neural grey-level co-occurrence matrix (NGLCM) describes the texture of an image. It
sees grey values that are scaled to the largest of the image, so that it is made for biases of
texture, not of colour.

Differences from the paper, which are choices of this project: the thresholds of the NGLCM are not
trained (in training they can become NaN, and the authors say that they may be fixed); the inverse
has a ridge; and predictions divide features by a moving average of their norms over training
batches, as their norms over the predicted batch would make a prediction depend on other images.
"""

from collections.abc import Mapping
from typing import ClassVar, Final

import torch
from pydantic import Field
from torch import Tensor, nn

from debias_pipeline.losses import cross_entropy
from debias_pipeline.methods.base import Batch, Losses, Recipe, Task
from debias_pipeline.methods.vanilla import Vanilla
from debias_pipeline.networks import ImageNetwork, StackedLinear, as_floats
from debias_pipeline.randomness import generators

# Features of texture, as published; the ridge of the inverse, and the share of the old value in the
# moving averages of norms.
FEATURES: Final = 32
RIDGE: Final = 1e-5
MOMENTUM: Final = 0.9
# Smallest entry before the product of the NGLCM, as published.
LEAST: Final = 1e-5


class HexRecipe(Recipe):
    """Hyper-parameters of HEX.

    Attributes:
        grey_levels: number of grey levels of the NGLCM.
    """

    grey_levels: int = Field(default=16, ge=2)


class Hex(Vanilla):
    """Vanilla's network next to a texture branch, whose logits are projected out in training."""

    name: ClassVar[str] = "hex"
    recipe_type: ClassVar[type[Recipe]] = HexRecipe
    loss_terms: ClassVar[Mapping[str, str]] = {}
    recipe: HexRecipe
    _norms: Tensor

    def __init__(self, recipe: Recipe, task: Task) -> None:
        """See `Method`."""
        super().__init__(recipe, task)
        self.texture = TextureNetwork(self.recipe.grey_levels, task)
        initial = generators(task.seeds, "initial weights texture head")
        # Both heads have one bias, that of `head`.
        self.texture_weight = StackedLinear(FEATURES, task.classes, 1, initial).weight
        self.register_buffer("_norms", torch.zeros(task.replicas, self.encoder.features))

    def losses(self, batch: Batch, step: int) -> Losses:
        """Return the mean cross-entropy of F_L."""
        del step
        features = self._features(batch.images).to(self._norms.dtype)
        norms = features.detach().norm(dim=1)
        self._norms = torch.where(self._norms == 0, norms, self._norms.lerp(norms, 1 - MOMENTUM))
        logits = self._classify(nn.functional.normalize(features, dim=1))
        texture = nn.functional.normalize(self.texture(batch.images), dim=1)
        of_texture = texture @ self.texture_weight[:, 0]
        projected = project_out(logits + of_texture, of_texture + self.head.bias)
        return Losses(cross_entropy(projected, batch.labels).mean(1))

    def predict(self, images: Tensor) -> Tensor:
        """Return F_P, the logits without texture."""
        norms = self._norms.clamp(min=1e-12).unsqueeze(1)
        return self._classify(self._features(images).to(norms.dtype) / norms)


class TextureNetwork(ImageNetwork):
    """The NGLCM, a linear layer and a ReLU."""

    _differences: Tensor
    _levels: Tensor

    def __init__(self, grey_levels: int, task: Task) -> None:
        """Create an untrained network."""
        super().__init__()
        self._count = grey_levels
        initial = generators(task.seeds, "initial weights texture")
        drawn = [torch.rand(2, grey_levels, generator=each) * grey_levels for each in initial]
        thresholds = torch.stack(drawn).unsqueeze(-1)
        self.register_buffer("_differences", thresholds[:, 0])
        self.register_buffer("_levels", thresholds[:, 1])
        self.layer = StackedLinear(grey_levels**2, FEATURES, 1, initial)

    def forward(self, images: Tensor) -> Tensor:
        """Return features, [R, B, 32]; images as in `Method.predict`."""
        features: Tensor = self.layer(self.co_occurrence(images).flatten(2).unsqueeze(1))
        return features[:, 0].relu()

    @torch.no_grad()
    def co_occurrence(self, images: Tensor) -> Tensor:
        """Return the NGLCM, [R, B, G, G]: differences to the left neighbour × grey levels."""
        grey = as_floats(images).to(self._levels.dtype).mean(2)
        largest = grey.amax((2, 3), keepdim=True).clamp(min=LEAST)
        grey = (grey * (self._count - 1) / largest).floor()
        differences = nn.functional.pad(grey[..., :-1], (1, 0)) - grey
        first, second = (
            (each.flatten(2).unsqueeze(2) - thresholds.unsqueeze(1)).clamp(LEAST, 1)
            for each, thresholds in ((differences, self._differences), (grey, self._levels))
        )
        return first @ second.mT


def project_out(logits: Tensor, texture_logits: Tensor) -> Tensor:
    """Return F_L = (I − F_G (F_Gᵀ F_G)⁻¹ F_Gᵀ) F_A, with a small ridge.

    Args:
        logits: F_A, [R, B, C].
        texture_logits: F_G, [R, B, C].
    """
    squares = texture_logits.mT @ texture_logits
    ridge = RIDGE * torch.eye(squares.shape[-1], dtype=squares.dtype, device=squares.device)
    return logits - texture_logits @ torch.linalg.solve(squares + ridge, texture_logits.mT @ logits)
