"""Losses of single images, and moving averages of them."""

from debias_pipeline.losses.cross_entropy import (
    cross_entropy,
    generalised_cross_entropy_factor,
)
from debias_pipeline.losses.moving_average import ClassNormalisedAverage

__all__ = [
    "ClassNormalisedAverage",
    "cross_entropy",
    "generalised_cross_entropy_factor",
]
