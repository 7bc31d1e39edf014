"""Similarities between the features of the images of a batch."""

import torch
from torch import Tensor


def inner_products(features: Tensor) -> Tensor:
    """Return the inner products of all pairs of images, [R, B, B].

    Args:
        features: float, [R, B, F].

    Returns:
        float32 for bfloat16 features, also under autocast, else of their dtype.
    """
    if features.dtype == torch.bfloat16:
        features = features.float()
    with torch.autocast(features.device.type, enabled=False):
        return features @ features.mT


def rbf_kernel(features: Tensor, sigma: float | None) -> Tensor:
    """Return exp(−d² / (2 σ²)) of all pairs of images, [R, B, B]; 0 for an image with itself.

    Args:
        features: float, [R, B, F]; d is their Euclidean distance.
        sigma: σ; if None, σ² is the median of d² over the pairs of the batch, without gradient.
    """
    products = inner_products(features)
    norms = products.diagonal(dim1=1, dim2=2)
    squared = (norms.unsqueeze(1) + norms.unsqueeze(2) - 2 * products).clamp_min(0)
    variance = _median_of_pairs(squared.detach()) if sigma is None else sigma**2
    others = 1 - torch.eye(squared.shape[1], dtype=squared.dtype, device=squared.device)
    return torch.exp(squared / (-2 * variance)) * others


def hsic(first: Tensor, second: Tensor) -> Tensor:
    """Return the unbiased estimate of the Hilbert-Schmidt independence criterion, [R].

    Song, Smola, Gretton, Bedo & Borgwardt, "Feature Selection via Dependence Maximization", JMLR
    2012, equation 5. It is 0 in expectation for independent features, and can be negative.

    Args:
        first: kernel with a diagonal of 0, [R, B, B] with B > 3.
        second: the same of other features of the same images.
    """
    size = first.shape[1]
    rows_of_first, rows_of_second = first.sum(2), second.sum(2)
    trace = (first * second).sum((1, 2))
    sums = rows_of_first.sum(1) * rows_of_second.sum(1) / ((size - 1) * (size - 2))
    mixed = 2 / (size - 2) * (rows_of_first * rows_of_second).sum(1)
    return (trace + sums - mixed) / (size * (size - 3))


def _median_of_pairs(squared: Tensor) -> Tensor:
    """Return the lower median of the entries that are not on the diagonal, [R, 1, 1]."""
    size = squared.shape[1]
    # The diagonal holds the smallest entries, 0.
    middle = size + (size * (size - 1) - 1) // 2
    return squared.flatten(1).sort(1).values[:, middle].clamp_min(1e-12).view(-1, 1, 1)
