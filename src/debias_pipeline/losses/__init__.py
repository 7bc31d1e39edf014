"""Per-image losses and the moving averages that are kept of them."""

from debias_pipeline.losses.cross_entropy import (
    cross_entropy,
    generalised_cross_entropy_factor,
)
from debias_pipeline.losses.moving_average import ClassNormalisedAverage
from debias_pipeline.losses.relative_difficulty import BIAS, INTRINSIC, relative_difficulty

__all__ = [
    "BIAS",
    "INTRINSIC",
    "ClassNormalisedAverage",
    "cross_entropy",
    "generalised_cross_entropy_factor",
    "relative_difficulty",
]
