"""Encoders of any architecture: one module per replica and branch, called one after another."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from debias_pipeline.networks.encoder import Encoder, as_floats, check_same_tensors
from debias_pipeline.randomness import global_generator_seeded_by


class SeparateEncoder(Encoder):
    """R × K separate modules.

    This suits convolutional networks: a single one is large enough to keep a processor busy, so
    that one batched operation over all of them would not be faster. The module list `replicas` has
    a list of K branches for each replica.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        branches: int,
        generators: Sequence[torch.Generator],
    ) -> None:
        """See `Encoder`."""
        super().__init__(image_shape, branches, generators)
        self.replicas = nn.ModuleList(
            nn.ModuleList(self._initialised(generator) for _ in range(branches))
            for generator in generators
        )

    @abstractmethod
    def backbone(self) -> nn.Module:
        """Return a new module, [B, 3, H, W] → [B, F], with weights from the global generator."""

    def forward(self, images: Tensor) -> Tensor:
        """See `Encoder`."""
        of_replica = as_floats(images).expand(len(self.replicas), *images.shape[1:])
        features = []
        for replica, mine in zip(self.replicas, of_replica, strict=True):
            branches = cast(nn.ModuleList, replica)
            features.append(torch.stack([branch(mine) for branch in branches]))
        return torch.stack(features)

    def branch_state(self, replica: int, branch: int) -> dict[str, Tensor]:
        """See `Encoder`: the module's own names."""
        return dict(self._branch(replica, branch).state_dict())

    def load_branch_state(self, replica: int, branch: int, state: Mapping[str, Tensor]) -> None:
        """See `Encoder`."""
        check_same_tensors(state, self.branch_state(replica, branch))
        self._branch(replica, branch).load_state_dict(state)

    def _branch(self, replica: int, branch: int) -> nn.Module:
        return cast(nn.ModuleList, self.replicas[replica])[branch]

    def _initialised(self, generator: torch.Generator) -> nn.Module:
        with global_generator_seeded_by(generator):
            return self.backbone().to(memory_format=torch.channels_last)
