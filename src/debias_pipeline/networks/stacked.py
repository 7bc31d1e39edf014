"""Many independent linear layers computed as one batched matrix product.

Axes, everywhere in the project: R replicas (one per seed), K branches (networks of one
architecture that read the same images), B images of a batch.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn


class StackedLinear(nn.Module):
    """R × K independent linear layers.

    Initialised as `torch.nn.Linear`: weights and biases uniform in ±1/√in_features, each
    replica from its own generator, so that a replica does not depend on how many there are.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        branches: int,
        generators: Sequence[torch.Generator],
    ) -> None:
        """Set up.

        Args:
            in_features: width of the input.
            out_features: width of the output.
            branches: K.
            generators: one per replica; their number is R.
        """
        super().__init__()
        bound = 1 / math.sqrt(in_features)
        weight_shape = (branches, in_features, out_features)
        weights, biases = [], []
        for each in generators:
            weights.append(torch.empty(weight_shape).uniform_(-bound, bound, generator=each))
            biases.append(
                torch.empty(branches, out_features).uniform_(-bound, bound, generator=each)
            )
        self.weight = nn.Parameter(torch.stack(weights))
        self.bias = nn.Parameter(torch.stack(biases))

    def forward(self, inputs: Tensor) -> Tensor:
        """Compute the outputs.

        Args:
            inputs: [R, K, B, in_features].

        Returns:
            [R, K, B, out_features].
        """
        replicas, branches, batch, _ = inputs.shape
        outputs = torch.baddbmm(
            self.bias.flatten(0, 1).unsqueeze(1),
            inputs.flatten(0, 1),
            self.weight.flatten(0, 1),
        )
        return outputs.view(replicas, branches, batch, -1)


class SharedInputLinear(nn.Module):
    """Parameters of R × K linear layers, the K branches of a replica reading the same input.

    The branches lie side by side in one weight matrix per replica, [R, in_features, K,
    out_features]: one wide product, which is the network's to compute, is faster than K narrow
    ones.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        branches: int,
        generators: Sequence[torch.Generator],
    ) -> None:
        """See `StackedLinear`; the same numbers are drawn in the same order."""
        super().__init__()
        stacked = StackedLinear(in_features, out_features, branches, generators)
        self.weight = nn.Parameter(stacked.weight.detach().transpose(1, 2).contiguous())
        self.bias = stacked.bias
