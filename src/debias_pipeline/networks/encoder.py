"""What every encoder provides."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn


class Encoder(nn.Module, ABC):
    """K encoders of one architecture for each of R replicas, all reading the same images.

    Every parameter and buffer carries the replica axis first, or lies in a module list
    `replicas` with one entry per replica.

    Attributes:
        name: as written in recipes (`network: mlp`).
        features: F, the width of a branch's output.
    """

    name: ClassVar[str]
    features: int

    @abstractmethod
    def __init__(
        self,
        image_shape: tuple[int, int, int],
        branches: int,
        generators: Sequence[torch.Generator],
    ) -> None:
        """Set up.

        Args:
            image_shape: height, width, channels.
            branches: K.
            generators: one per replica, for the initial weights; their number is R.
        """
        super().__init__()

    @abstractmethod
    def forward(self, images: Tensor) -> Tensor:
        """Compute the outputs.

        Args:
            images: [R, B, 3, H, W], or [1, B, 3, H, W] shared by all replicas: uint8 in 0..255,
                or float, in 0..1 or normalised.

        Returns:
            features, [R, K, B, F].
        """

    @abstractmethod
    def branch_state(self, replica: int, branch: int) -> dict[str, Tensor]:
        """One encoder alone, named and laid out as published code has it: views or copies."""

    @abstractmethod
    def load_branch_state(self, replica: int, branch: int, state: Mapping[str, Tensor]) -> None:
        """Set one encoder from what `branch_state` gives.

        Raises:
            ValueError: if names or shapes are those of another network.
        """


def as_floats(images: Tensor) -> Tensor:
    """Images as `Encoder.forward` takes them, as floats in 0..1 or normalised."""
    return images / 255 if images.dtype == torch.uint8 else images


def compute_dtype(parameter: Tensor) -> torch.dtype:
    """What a network computes in: autocast's dtype where it is on, else its parameters' own."""
    if torch.is_autocast_enabled(parameter.device.type):
        return torch.get_autocast_dtype(parameter.device.type)
    return parameter.dtype


def check_same_tensors(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Raise a ValueError that names the first tensor that is missing, odd or misshapen."""
    if found.keys() != expected.keys():
        odd = sorted(found.keys() ^ expected.keys())
        shown = ", ".join(odd[:5]) + (" …" if len(odd) > 5 else "")
        raise ValueError(f"these tensors are missing or not expected: {shown}")
    for name, tensor in expected.items():
        if found[name].shape != tensor.shape:
            raise ValueError(
                f"tensor {name} has shape {list(found[name].shape)}, "
                f"the network needs {list(tensor.shape)}"
            )
