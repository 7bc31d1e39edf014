"""torchvision's classification networks as encoders."""

from collections.abc import Sequence

import torch
import torchvision
from torch import Tensor, nn

from debias_pipeline.networks.pretrained import read_weights
from debias_pipeline.networks.separate import SeparateEncoder


class TorchvisionEncoder(SeparateEncoder):
    """A network of torchvision without its last linear layer.

    `resnet18` keeps its ImageNet stem also for 32 × 32 images, as in the published code.
    """

    def __init__(
        self,
        architecture: str,
        image_shape: tuple[int, int, int],
        branches: int,
        generators: Sequence[torch.Generator],
        weights: str = "none",
    ) -> None:
        """Set up.

        Args:
            architecture: torchvision's name of the network.
            image_shape: see `Encoder`.
            branches: see `Encoder`.
            generators: see `Encoder`.
            weights: none, or see `pretrained.read_weights`; all replicas and branches get the same.

        Raises:
            RecipeError: see `initial_state`.
        """
        self._architecture = architecture
        state = None if weights == "none" else initial_state(architecture, weights)
        super().__init__(image_shape, branches, generators)
        if state is None:
            return
        for replica in range(len(generators)):
            for branch in range(branches):
                self.load_branch_state(replica, branch, state)

    def backbone(self) -> nn.Module:
        """See `SeparateEncoder`."""
        network, _, self.features = _without_head(self._architecture)
        return network


def initial_state(architecture: str, weights: str) -> dict[str, Tensor]:
    """Read the initial weights of a network, and check that they fit.

    Args:
        architecture: torchvision's name of the network.
        weights: see `pretrained.read_weights`.

    Raises:
        RecipeError: if the weights cannot be read or do not fit the network.
    """
    with torch.device("meta"):
        network, head, _ = _without_head(architecture)
    return read_weights(architecture, weights, network.state_dict(), head)


def _without_head(architecture: str) -> tuple[nn.Module, str, int]:
    """Build a network with nn.Identity in place of its head; return the head's name and width."""
    network: nn.Module = torchvision.models.get_model(architecture, weights=None)
    name, head = [
        (name, module) for name, module in network.named_modules() if isinstance(module, nn.Linear)
    ][-1]
    network.set_submodule(name, nn.Identity())
    return network, name, head.in_features
