"""What every encoder provides."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
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
            images: float, [R, B, 3, H, W] in 0..1 or normalised, or [1, B, 3, H, W] shared
                by all replicas.

        Returns:
            features, [R, K, B, F].
        """
