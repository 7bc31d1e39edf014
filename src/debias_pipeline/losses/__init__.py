"""Per-image losses and the moving averages that are kept of them."""

from debias_pipeline.losses.cross_entropy import cross_entropy, generalised_cross_entropy
from debias_pipeline.losses.moving_average import ClassNormalisedAverage

__all__ = ["ClassNormalisedAverage", "cross_entropy", "generalised_cross_entropy"]
