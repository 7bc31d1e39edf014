"""What every encoder provides, and how one is found by name."""

import importlib
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn


class Encoder(nn.Module, ABC):
    """K encoders of one architecture for each of R replicas, all reading the same images.

    Every parameter and buffer carries the replica axis first.

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


def _encoder_types() -> dict[str, type[Encoder]]:
    package = importlib.import_module(__package__)
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{__package__}.{module.name}")
    return {each.name: each for each in Encoder.__subclasses__()}


def encoder_names() -> list[str]:
    """The names that a recipe's `network` may have."""
    return sorted(_encoder_types())


def build_encoder(
    name: str,
    image_shape: tuple[int, int, int],
    branches: int,
    generators: Sequence[torch.Generator],
) -> Encoder:
    """An untrained encoder by name; for the arguments see `Encoder`.

    Raises:
        KeyError: if there is no encoder of that name.
    """
    return _encoder_types()[name](image_shape, branches, generators)
