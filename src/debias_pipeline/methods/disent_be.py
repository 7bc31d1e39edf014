"""DisEnt with BiasEnsemble.

Lee, Park, Kim, Lee, Choi & Choo, "Revisiting the Importance of Amplifying Bias for Debiasing",
AAAI 2023, arXiv 2205.14594.
"""

from typing import ClassVar

from debias_pipeline.methods.base import Recipe
from debias_pipeline.methods.bias_ensemble import BiasEnsemble, BiasEnsembleRecipe
from debias_pipeline.methods.disent import Disent, DisentRecipe


class DisentBeRecipe(DisentRecipe, BiasEnsembleRecipe):
    """Hyper-parameters of `DisentRecipe` and `BiasEnsembleRecipe`."""


class DisentBe(BiasEnsemble, Disent):
    """DisEnt whose bias branch C_b minimises the mean of its cross-entropy over D_A.

    Of swapped features, D_A contains those whose z_b comes from an image in D_A.
    """

    name: ClassVar[str] = "disent_be"
    recipe_type: ClassVar[type[Recipe]] = DisentBeRecipe
    recipe: DisentBeRecipe
