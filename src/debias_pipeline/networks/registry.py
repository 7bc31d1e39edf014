"""Find and build encoders by name."""

import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Final

import torch

from debias_pipeline.networks.encoder import Encoder
from debias_pipeline.registry import discover, look_up

# Networks of torchvision with which a seed gives the same result alone and together with other
# seeds. Networks with dropout or stochastic depth are left out: they draw from PyTorch's global
# generator. Name → the smallest side of an image, in pixels, that the network works on.
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
        weights: initial weights of a torchvision network, see `pretrained.read_weights`.

    Raises:
        UserError: if there is no encoder of that name, or if the weights cannot be used.
    """
    if name in TORCHVISION_NETWORKS:
        # torchvision takes a second to import and is not always needed.
        from debias_pipeline.networks.torchvision_encoder import TorchvisionEncoder

        return TorchvisionEncoder(name, image_shape, branches, generators, weights)
    return look_up("network", name, _own_encoders())(image_shape, branches, generators)


def check_weights(name: str, weights: str) -> None:
    """Check that initial weights fit an encoder; download them if necessary.

    Raises:
        RecipeError: if they do not.
    """
    if weights != "none":
        from debias_pipeline.networks.torchvision_encoder import initial_state

        initial_state(name, weights)


@cache
def _own_encoders() -> dict[str, type[Encoder]]:
    return discover(__package__, Encoder, skip=("pretrained", "torchvision_encoder"))


def weights_hash(weights: str) -> str | None:
    """Return the SHA-256 sum of a weights file; None for `none`, `imagenet` and missing files.

    The file of `imagenet` always has the same content.
    """
    path = Path(weights).expanduser()
    if weights in ("none", "imagenet") or not path.is_file():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
