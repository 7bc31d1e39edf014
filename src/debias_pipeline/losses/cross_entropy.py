"""Cross-entropy and generalised cross-entropy of single images."""

import torch
from torch import Tensor, nn


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the cross-entropy of each image.

    Args:
        logits: float, [..., C].
        labels: int64, [...].

    Returns:
        [...], float32 for bfloat16 logits, else of their dtype.
    """
    flat = logits.flatten(0, -2)
    if flat.dtype == torch.bfloat16:
        flat = flat.float()
    # With classes first in memory, a CPU processes many images at once: 10 times as fast as rows of
    # few classes.
    classes_first = flat.T.contiguous().unsqueeze(0)
    losses = nn.functional.cross_entropy(
        classes_first, labels.flatten().unsqueeze(0), reduction="none"
    )
    return losses.view(labels.shape)


def generalised_cross_entropy_factor(losses: Tensor, q: float) -> Tensor:
    """Return the factor q · p_y^q of generalised cross-entropy, without gradient.

    p_y is the probability of the image's label. The product of this factor and the cross-entropy
    is the loss of published debiasing code (LfF and later). Its gradient is q times that of
    (1 − p_y^q) / q, the loss of Zhang & Sabuncu (NeurIPS 2018, equation 6): easy images count
    more.

    Args:
        losses: cross-entropies, detached, [...]; p_y is exp(−loss).
        q: from 0 (gradient of cross-entropy) to 1 (gradient of mean absolute error).

    Returns:
        [...].
    """
    return torch.exp(losses * -q).mul_(q)
