"""Losses of single images, moving averages of them, and similarities between images."""

from debias_pipeline.losses.cross_entropy import (
    cross_entropy,
    generalised_cross_entropy_factor,
)
from debias_pipeline.losses.moving_average import ClassNormalisedAverage
from debias_pipeline.losses.similarity import hsic, inner_products, rbf_kernel

__all__ = [
    "ClassNormalisedAverage",
    "cross_entropy",
    "generalised_cross_entropy_factor",
    "hsic",
    "inner_products",
    "rbf_kernel",
]
