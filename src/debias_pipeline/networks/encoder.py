"""Base classes of networks whose input is images."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn


class ImageNetwork(nn.Module):
    """Base class of networks whose input is images; training counts what passes through them.

    `forward` returns features, [R, K, B, F] or [R, B, F], or a tuple that begins with them.
    """


def image_networks(module: nn.Module) -> list[ImageNetwork]:
    """Return the networks whose input is images among the parts of a module."""
    return [each for each in module.modules() if isinstance(each, ImageNetwork)]


@contextmanager
def observed(
    networks: Iterable[ImageNetwork], observe: Callable[[ImageNetwork, Tensor], None]
) -> Iterator[None]:
    """Call `observe(network, features)` after each forward pass of the networks within the block.

    Args:
        networks: networks to observe.
        observe: gets the network and its features, [R, K, B, F] or [R, B, F].
    """
    # A copy of a network, such as that of a rehearsal, gets a copy of a bound method, so that it is
    # not observed. A closure would be shared.
    hook = partial(_pass_features, observe)
    handles = [each.register_forward_hook(hook) for each in networks]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _pass_features(
    observe: Callable[[ImageNetwork, Tensor], None], network: Any, inputs: object, output: Any
) -> None:
    del inputs
    observe(network, output[0] if isinstance(output, tuple) else output)


class Encoder(ImageNetwork, ABC):
    """K encoders (branches) of one architecture for each of R replicas.

    The branches of a replica get the same images. The first axis of every parameter and buffer is
    the replica axis, or it is in a module list `replicas` with an entry per replica.

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
            generators: R generators of initial weights.
        """
        super().__init__()

    @abstractmethod
    def forward(self, images: Tensor) -> Tensor:
        """Return the features of images.

        Args:
            images: [R, B, 3, H, W], or [1, B, 3, H, W] shared by all replicas: uint8 in 0..255,
                or float, in 0..1 or normalised.

        Returns:
            [R, K, B, F].
        """

    @abstractmethod
    def branch_state(self, replica: int, branch: int) -> dict[str, Tensor]:
        """Return the state of one encoder, with the names and layout of published code."""

    @abstractmethod
    def load_branch_state(self, replica: int, branch: int, state: Mapping[str, Tensor]) -> None:
        """Set one encoder from the result of `branch_state`.

        Raises:
            ValueError: if names or shapes differ from those of this network.
        """


def as_floats(images: Tensor) -> Tensor:
    """Divide uint8 images by 255; return float images unchanged."""
    return images / 255 if images.dtype == torch.uint8 else images


def compute_dtype(parameter: Tensor) -> torch.dtype:
    """Return the dtype to compute in: that of autocast if it is on, or else of the parameter."""
    if torch.is_autocast_enabled(parameter.device.type):
        return torch.get_autocast_dtype(parameter.device.type)
    return parameter.dtype


def check_same_tensors(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Check that names and shapes of tensors are as expected.

    Raises:
        ValueError: if they are not.
    """
    if found.keys() != expected.keys():
        different = sorted(found.keys() ^ expected.keys())
        shown = ", ".join(different[:5]) + (" …" if len(different) > 5 else "")
        raise ValueError(f"these tensors are missing or not expected: {shown}")
    for name, tensor in expected.items():
        if found[name].shape != tensor.shape:
            raise ValueError(
                f"tensor {name} has shape {list(found[name].shape)}, "
                f"the network needs {list(tensor.shape)}"
            )
