"""Vanilla with SelecMix, see `selective_mixing`; the published code calls it V+SelecMix."""

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor

from debias_pipeline.losses import cross_entropy
from debias_pipeline.methods.base import Batch, Losses, Recipe
from debias_pipeline.methods.selective_mixing import SelectiveMixing, SelectiveMixingRecipe
from debias_pipeline.methods.vanilla import Vanilla


class Selecmix(SelectiveMixing, Vanilla):
    """Vanilla's network, trained on mixed images only."""

    name: ClassVar[str] = "selecmix"
    recipe_type: ClassVar[type[Recipe]] = SelectiveMixingRecipe
    loss_terms: ClassVar[Mapping[str, str]] = {
        "loss_mixed": "mixed images",
        "loss_similarity": "similarity",
    }

    def mixed_losses(self, batch: Batch, mixed: Tensor, targets: Tensor) -> Losses:
        """Return the mean cross-entropy of mixed images."""
        del batch
        total = cross_entropy(self.predict(mixed), targets).mean(1)
        return Losses(total, {"loss_mixed": total.detach()})
