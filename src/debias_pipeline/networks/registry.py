"""Encoders by name."""

import importlib
import inspect
import pkgutil
from collections.abc import Sequence
from functools import cache
from typing import Final

import torch

from debias_pipeline.networks.encoder import Encoder

# torchvision's networks that train as promised: the same seed gives the same bits, alone and
# together with others. Networks with dropout or stochastic depth do not, as they draw from
# PyTorch's global generator. Name → the smallest side of an image, in pixels, that it works on.
TORCHVISION_NETWORKS: Final = {
    "resnet18": 1,
    "resnet34": 1,
    "resnet50": 1,
    "densenet121": 29,
    "shufflenet_v2_x1_0": 1,
}


def encoder_names() -> list[str]:
    """Return the names that a recipe's `network` may have, sorted."""
    return sorted([*_own_encoders(), *TORCHVISION_NETWORKS])


def smallest_image(name: str) -> int:
    """Return the smallest side of an image, in pixels, that an encoder works on."""
    return TORCHVISION_NETWORKS.get(name, 1)


def build_encoder(
    name: str,
    image_shape: tuple[int, int, int],
    branches: int,
    generators: Sequence[torch.Generator],
    weights: str = "none",
) -> Encoder:
    """Build an encoder by name.

    Args:
        name: one of `encoder_names()`.
        image_shape: see `Encoder`.
        branches: see `Encoder`.
        generators: see `Encoder`.
        weights: where a torchvision network starts from, see `pretrained.read_weights`.

    Raises:
        KeyError: if there is no encoder of that name.
        RecipeError: if the weights cannot be used.
    """
    if name in TORCHVISION_NETWORKS:
        # torchvision takes a second to import and is not always needed.
        from debias_pipeline.networks.torchvision_encoder import TorchvisionEncoder

        return TorchvisionEncoder(name, image_shape, branches, generators, weights)
    return _own_encoders()[name](image_shape, branches, generators)


def check_weights(name: str, weights: str) -> None:
    """Check that an encoder can start from some weights, downloading them if necessary.

    Raises:
        RecipeError: if it cannot.
    """
    if weights != "none":
        from debias_pipeline.networks.torchvision_encoder import initial_state

        initial_state(name, weights)


@cache
def _own_encoders() -> dict[str, type[Encoder]]:
    package = importlib.import_module(__package__)
    found: dict[str, type[Encoder]] = {}
    for info in pkgutil.iter_modules(package.__path__):
        if info.name in ("torchvision_encoder", "pretrained"):
            continue
        module = importlib.import_module(f"{__package__}.{info.name}")
        for _, member in inspect.getmembers(module, inspect.isclass):
            if issubclass(member, Encoder) and not inspect.isabstract(member):
                found[member.name] = member
    return found
