"""LfF with BiasEnsemble.

Lee, Park, Kim, Lee, Choi & Choo, "Revisiting the Importance of Amplifying Bias for Debiasing",
AAAI 2023, arXiv 2205.14594.
"""

from typing import ClassVar

from debias_pipeline.methods.base import Recipe
from debias_pipeline.methods.bias_ensemble import BiasEnsemble, BiasEnsembleRecipe
from debias_pipeline.methods.lff import Lff


class LffBe(BiasEnsemble, Lff):
    """LfF whose network f_b minimises the mean of CE(f_b) over D_A."""

    name: ClassVar[str] = "lff_be"
    recipe_type: ClassVar[type[Recipe]] = BiasEnsembleRecipe
    recipe: BiasEnsembleRecipe
