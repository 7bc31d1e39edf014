"""Many independent linear layers computed as one batched matrix product.

Axes, everywhere in the project: R replicas (one per seed), K branches (networks of one
architecture with the same input), B images of a batch.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn


class StackedLinear(nn.Module):
    """R × K independent linear layers.

    They are initialised like `torch.nn.Linear`: weights and biases uniform in ±1/√in_features. Each
    replica has its own generator and so does not depend on other replicas.
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
            generators: R generators of initial weights.
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
        """Return the outputs of all layers.

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
    """Parameters of R × K linear layers; the K branches of a replica have the same input.

    The weights of the branches are side by side, [R, in_features, K, out_features], as one wide
    matrix product is faster than K narrow ones. The network computes it.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        branches: int,
        generators: Sequence[torch.Generator],
    ) -> None:
        """Draw the same initial weights as `StackedLinear`."""
        super().__init__()
        stacked = StackedLinear(in_features, out_features, branches, generators)
        self.weight = nn.Parameter(stacked.weight.detach().transpose(1, 2).contiguous())
        self.bias = stacked.bias
