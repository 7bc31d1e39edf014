"""Encoders by name."""

import importlib
import inspect
import pkgutil
from collections.abc import Sequence
from functools import cache

import torch

from debias_pipeline.networks.encoder import Encoder


def encoder_names() -> list[str]:
    """The project's own encoders; torchvision's classification networks go by their names too."""
    return sorted(_own_encoders())


def is_encoder(name: str) -> bool:
    """Whether a recipe's `network` may have this name."""
    return name in _own_encoders() or name in _torchvision_names()


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
    if name in _own_encoders():
        return _own_encoders()[name](image_shape, branches, generators)
    if name not in _torchvision_names():
        raise KeyError(name)
    from debias_pipeline.networks.torchvision_encoder import TorchvisionEncoder

    return TorchvisionEncoder(name, image_shape, branches, generators)


@cache
def _own_encoders() -> dict[str, type[Encoder]]:
    package = importlib.import_module(__package__)
    found: dict[str, type[Encoder]] = {}
    for info in pkgutil.iter_modules(package.__path__):
        # torchvision takes a second to import and is not always needed.
        if info.name == "torchvision_encoder":
            continue
        module = importlib.import_module(f"{__package__}.{info.name}")
        for _, member in inspect.getmembers(module, inspect.isclass):
            if issubclass(member, Encoder) and not inspect.isabstract(member):
                found[member.name] = member
    return found


@cache
def _torchvision_names() -> frozenset[str]:
    from debias_pipeline.networks.torchvision_encoder import architectures

    return frozenset(architectures())
