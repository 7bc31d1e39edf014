"""Cross-entropy and generalised cross-entropy per image."""

import torch
from torch import Tensor, nn


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of each image.

    Args:
        logits: float, [..., C].
        labels: int64, [...].

    Returns:
        [...], float32 for bfloat16 logits, else of their dtype.
    """
    flat = logits.flatten(0, -2)
    if flat.dtype == torch.bfloat16:
        flat = flat.float()
    # With the classes apart in memory, a processor works on many images at once: 10 times as fast
    # as on rows of few classes.
    classes_first = flat.T.contiguous().unsqueeze(0)
    losses = nn.functional.cross_entropy(
        classes_first, labels.flatten().unsqueeze(0), reduction="none"
    )
    return losses.view(labels.shape)


def generalised_cross_entropy_factor(losses: Tensor, q: float) -> Tensor:
    """What generalised cross-entropy multiplies cross-entropy by: q · p_y^q, a constant.

    As the published code of LfF and DisEnt computes it; p_y is the probability of the image's
    label. The gradient of the product is q times that of (1 − p_y^q) / q, the loss of
    Zhang & Sabuncu (NeurIPS 2018, equation 6): images that are easy already count more.

    Args:
        losses: cross-entropies, detached, [...]; p_y is exp(−loss).
        q: 0 (plain cross-entropy's gradient) to 1 (mean absolute error's).

    Returns:
        [...].
    """
    return torch.exp(losses * -q).mul_(q)
