"""torchvision's classification networks as encoders."""

from collections.abc import Sequence

import torch
import torchvision
from torch import nn

from debias_pipeline.networks.separate import SeparateEncoder


class TorchvisionEncoder(SeparateEncoder):
    """An untrained network of torchvision without its last linear layer.

    `resnet18` keeps its ImageNet stem also for 32 × 32 images, as in the published code.
    """

    def __init__(
        self,
        architecture: str,
        image_shape: tuple[int, int, int],
        branches: int,
        generators: Sequence[torch.Generator],
    ) -> None:
        """Set up.

        Args:
            architecture: torchvision's name of it.
            image_shape: see `Encoder`.
            branches: see `Encoder`.
            generators: see `Encoder`.
        """
        self._architecture = architecture
        super().__init__(image_shape, branches, generators)

    def backbone(self) -> nn.Module:
        """See `SeparateEncoder`."""
        network: nn.Module = torchvision.models.get_model(self._architecture, weights=None)
        name, head = [
            (name, module)
            for name, module in network.named_modules()
            if isinstance(module, nn.Linear)
        ][-1]
        parent, _, attribute = name.rpartition(".")
        setattr(network.get_submodule(parent), attribute, nn.Identity())
        self.features = head.in_features
        return network


def architectures() -> list[str]:
    """Names of torchvision's classification networks."""
    names: list[str] = torchvision.models.list_models(module=torchvision.models)
    return names
