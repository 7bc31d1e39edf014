"""Mix images of a batch, or anything else that belongs to them, with those of partners."""

import torch
from torch import Tensor


def mix(values: Tensor, partners: Tensor, shares: Tensor) -> Tensor:
    """Return share · own + (1 − share) · partner's values.

    Args:
        values: float, [R, B, …].
        partners: int64, [R, B], positions in the batch.
        shares: float, [R, B], or [R, 1] for one share per replica.
    """
    replicas, size = partners.shape
    starts = size * torch.arange(replicas, device=partners.device).unsqueeze(1)
    of_partners = values.flatten(0, 1).index_select(0, (partners + starts).flatten())
    shares = shares.view(*shares.shape, *[1] * (values.ndim - 2))
    return torch.lerp(of_partners.view(values.shape), values, shares)
