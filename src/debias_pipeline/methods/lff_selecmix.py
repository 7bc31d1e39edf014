"""LfF with SelecMix, see `selective_mixing`; the published code calls it L+SelecMix."""

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

from pydantic import Field
from torch import Tensor

from debias_pipeline.losses import cross_entropy
from debias_pipeline.methods.base import Batch, Losses, Recipe
from debias_pipeline.methods.lff import Lff
from debias_pipeline.methods.selective_mixing import SelectiveMixing, SelectiveMixingRecipe
from debias_pipeline.methods.two_branches import TwoBranchRecipe


class LffSelecmixRecipe(SelectiveMixingRecipe, TwoBranchRecipe):
    """Hyper-parameters of LfF with SelecMix.

    Attributes:
        mix_weight: weight of the cross-entropy of mixed images.
    """

    mix_weight: float = Field(default=0.1, ge=0, allow_inf_nan=False)


class LffSelecmix(SelectiveMixing, Lff):
    """LfF whose network f_d also learns from mixed images."""

    name: ClassVar[str] = "lff_selecmix"
    recipe_type: ClassVar[type[Recipe]] = LffSelecmixRecipe
    loss_terms: ClassVar[Mapping[str, str]] = {
        **Lff.loss_terms,
        "loss_mixed": "mixed images",
        "loss_similarity": "similarity",
    }
    recipe: LffSelecmixRecipe

    def mixed_losses(self, batch: Batch, mixed: Tensor, targets: Tensor) -> Losses:
        """Return LfF's loss of unmixed images + mix_weight · mean(CE(f_d)) of mixed images."""
        of_lff = Lff.losses(self, batch, 0)
        of_mixed = cross_entropy(self.predict(mixed), targets).mean(1)
        terms = {**of_lff.terms, "loss_mixed": of_mixed.detach()}
        total = of_lff.total + self.recipe.mix_weight * of_mixed
        return replace(of_lff, total=total, terms=terms)
