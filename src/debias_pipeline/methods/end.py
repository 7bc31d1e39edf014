"""EnD: entangling and disentangling features, with known bias labels.

Tartaglione, Barbano & Grangetto, "EnD: Entangling and Disentangling deep representations for bias
correction", CVPR 2021, arXiv 2103.02023. As in the published code, the entangling term counts a
pair of images only if the later one in the batch has the smaller bias value, which is about half
of the pairs. The published code normalises features of convolutional networks only; here those of
every encoder are normalised.
"""

from collections.abc import Mapping
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from debias_pipeline.losses import cross_entropy, inner_products
from debias_pipeline.methods.base import Batch, Losses, Plan, Recipe, Run, Stage
from debias_pipeline.methods.vanilla import Vanilla
from debias_pipeline.names import BiasLabels


class EndRecipe(Recipe):
    """Hyper-parameters of EnD.

    Attributes:
        alpha: α, weight of the disentangling term.
        beta: β, weight of the entangling term.
    """

    alpha: float = Field(ge=0, allow_inf_nan=False)
    beta: float = Field(ge=0, allow_inf_nan=False)


class End(Vanilla):
    """Vanilla's network on normalised features, which are kept free of the bias.

    Features of images with the same bias value are made orthogonal (disentangled), those of
    images with the same label and other bias values parallel (entangled).
    """

    name: ClassVar[str] = "end"
    recipe_type: ClassVar[type[Recipe]] = EndRecipe
    bias_labels: ClassVar[BiasLabels] = "training"
    loss_terms: ClassVar[Mapping[str, str]] = {
        "loss_entropy": "cross-entropy",
        "loss_disentangling": "disentangling",
        "loss_entangling": "entangling",
    }
    recipe: EndRecipe
    _bias: Tensor
    _values: Tensor

    def begin(self, stage: Stage, run: Run) -> Plan:
        """See `Method`."""
        bias, device = run.bias("train"), next(self.parameters()).device
        self.register_buffer("_bias", bias.to(device), persistent=False)
        values = torch.arange(int(bias.max()) + 1)
        self.register_buffer("_values", values.to(device), persistent=False)
        return super().begin(stage, run)

    def losses(self, batch: Batch, step: int) -> Losses:
        """Return L = mean(CE) + α · R_⊥ + β · R_∥."""
        del step
        features = self._features(batch.images)
        entropy = cross_entropy(self._classify(features), batch.labels).mean(1)
        disentangling, entangling = self._regularisers(
            features, batch.labels, self._bias[batch.index]
        )
        total = entropy + self.recipe.alpha * disentangling + self.recipe.beta * entangling
        parts = zip(self.loss_terms, (entropy, disentangling, entangling), strict=True)
        return Losses(total, {name: each.detach() for name, each in parts})

    def _features(self, images: Tensor) -> Tensor:
        """Return features of length 1, [R, B, F], not in bfloat16."""
        features = super()._features(images)
        return nn.functional.normalize(features.to(self.head.weight.dtype), dim=-1)

    def _regularisers(
        self, features: Tensor, labels: Tensor, bias: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return R_⊥ and R_∥, [R] each; 0 in a batch without pairs of their kind.

        Args:
            features: of length 1, [R, B, F].
            labels: int64, [R, B].
            bias: int64, [R, B].
        """
        cosines = inner_products(features).clamp(-1, 1)
        same_bias = (bias.unsqueeze(2) == bias.unsqueeze(1)).tril(-1)
        of_images = (cosines * same_bias).sum(2).unsqueeze(1)
        of_values = ((bias.unsqueeze(1) == self._values.unsqueeze(1)) * of_images).sum(2)
        disentangling = of_values.abs().sum(1) / same_bias.sum((1, 2)).clamp(min=1)
        parallel = (labels.unsqueeze(2) == labels.unsqueeze(1)).tril(-1)
        parallel &= bias.unsqueeze(2) < bias.unsqueeze(1)
        pairs = parallel.sum((1, 2))
        closeness = ((1 + cosines) / 2 * parallel).sum((1, 2)) / pairs.clamp(min=1)
        return disentangling, (1 - closeness) * (pairs > 0)
