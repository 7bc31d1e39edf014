"""ReBias: features that are independent of those of a network that can only learn the bias.

Bahng, Chun, Yun, Choo & Oh, "Learning De-biased Representations with Biased Representations", ICML
2020, arXiv 1910.02806.

The method needs to know the kind of bias, to choose the biased network g. The paper takes the
network f with smaller kernels, of 1 × 1 for Biased MNIST. Here g is such a network for every data
set and encoder, a choice of this project: it sees single pixels only, so that it can learn from
colours but not from shapes. For biases other than colour g is not suitable.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar, Final, Literal

import torch
from pydantic import Field
from torch import Tensor

from debias_pipeline.losses import cross_entropy, hsic, rbf_kernel
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
from debias_pipeline.methods.vanilla import Vanilla
from debias_pipeline.networks import ImageNetwork, StackedLinear, as_floats
from debias_pipeline.randomness import generators

BIAS: Final = "bias"
# Widths of g's layers, and the largest number of rows and columns of pixels that it sees.
WIDTHS: Final = (16, 32)
PIXELS: Final = 16


class RebiasRecipe(Recipe):
    """Hyper-parameters of ReBias.

    Attributes:
        lambda_f: weight of HSIC in the loss of f.
        lambda_g: weight of HSIC in the loss of g, which maximises it.
        bandwidth: fixed: the kernel of features has the width σ = `sigma`; median: σ² is the
            median of the squared distances in the batch, for each network's features.
        sigma: of bandwidth=fixed only.
        batch_size: images per step and seed; HSIC needs 4.
    """

    lambda_f: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    lambda_g: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    bandwidth: Literal["fixed", "median"] = "fixed"
    sigma: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    batch_size: int = Field(ge=4)


class Rebias(Vanilla):
    """Train f and g in turns: g makes its features depend on those of f, f the opposite.

    f is vanilla's network and makes the predictions, g is the bias branch. The dependence is
    measured by the Hilbert-Schmidt independence criterion (HSIC).
    """

    name: ClassVar[str] = "rebias"
    recipe_type: ClassVar[type[Recipe]] = RebiasRecipe
    loss_terms: ClassVar[Mapping[str, str]] = {
        "loss_intrinsic": "cross-entropy of f",
        "loss_bias": "cross-entropy of g",
        "loss_hsic": "HSIC",
    }
    recipe: RebiasRecipe

    def __init__(self, recipe: Recipe, task: Task) -> None:
        """See `Method`."""
        super().__init__(recipe, task)
        self.biased = PixelNetwork(task)

    def begin(self, stage: Stage, run: Run) -> Plan:
        """See `Method`."""
        del stage, run
        optimisers = {
            MAIN: Optimiser.of_recipe(self.recipe, self.encoder, self.head),
            BIAS: Optimiser.of_recipe(self.recipe, self.biased),
        }
        return Plan((Sampling(self.recipe.batch_size),), optimisers)

    def updates(self, batches: Sequence[Batch], step: int) -> Iterator[Update]:
        """See `Method`: g first, then f on the same batch."""
        yield Update(self.bias_losses(batches[0]), (BIAS,))
        yield Update(self.losses(batches[0], step), (MAIN,))

    def bias_losses(self, batch: Batch) -> Losses:
        """Return the loss of g: mean(CE) − λ_g · HSIC."""
        with torch.no_grad():
            features = self._features(batch.images)
        bias_features, logits = self.biased(batch.images)
        entropy = cross_entropy(logits, batch.labels).mean(1)
        dependence = self._dependence(features, bias_features)
        total = entropy - self.recipe.lambda_g * dependence
        return Losses(total, {"loss_bias": entropy.detach()})

    def losses(self, batch: Batch, step: int) -> Losses:
        """Return the loss of f: mean(CE) + λ_f · HSIC."""
        del step
        features = self._features(batch.images)
        with torch.no_grad():
            bias_features, _ = self.biased(batch.images)
        entropy = cross_entropy(self._classify(features), batch.labels).mean(1)
        dependence = self._dependence(features, bias_features)
        terms = {"loss_intrinsic": entropy.detach(), "loss_hsic": dependence.detach()}
        return Losses(entropy + self.recipe.lambda_f * dependence, terms)

    def predict_branches(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the logits of f and of g."""
        _, bias_logits = self.biased(images)
        return self.predict(images), bias_logits

    def _dependence(self, features: Tensor, bias_features: Tensor) -> Tensor:
        sigma = self.recipe.sigma if self.recipe.bandwidth == "fixed" else None
        return hsic(rbf_kernel(features, sigma), rbf_kernel(bias_features, sigma))


class PixelNetwork(ImageNetwork):
    """The network g: 1 × 1 convolutions with ReLUs, the mean over pixels and a linear head.

    It sees at most 16 × 16 pixels, those of a regular grid, so that its cost does not grow with the
    size of images.
    """

    def __init__(self, task: Task) -> None:
        """Create an untrained network."""
        super().__init__()
        initial = generators(task.seeds, f"initial weights {BIAS}")
        height, width, channels = task.image_shape
        self._strides = math.ceil(height / PIXELS), math.ceil(width / PIXELS)
        self.first = StackedLinear(channels, WIDTHS[0], 1, initial)
        self.second = StackedLinear(*WIDTHS, 1, initial)
        self.head = StackedLinear(WIDTHS[1], task.classes, 1, initial)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return features, [R, B, F], and logits, [R, B, C]; images as in `Method.predict`."""
        down, right = self._strides
        pixels = as_floats(images[..., ::down, ::right]).movedim(2, -1)
        pixels = pixels.expand(len(self.first.weight), *pixels.shape[1:])
        replicas, size = pixels.shape[:2]
        hidden = self.first(pixels.flatten(1, 3).unsqueeze(1)).relu()
        hidden = self.second(hidden).relu()
        features = hidden.view(replicas, 1, size, -1, WIDTHS[1]).mean(3)
        logits: Tensor = self.head(features)
        return features[:, 0], logits[:, 0]
