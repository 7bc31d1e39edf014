"""Read initial weights of torchvision networks."""

import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import torch
import torchvision
from torch import Tensor

from debias_pipeline.errors import RecipeError, one_line
from debias_pipeline.networks.encoder import check_same_tensors
from debias_pipeline.networks.state_files import (
    first_not_finite,
    read_without_code,
    without_module_prefix,
)


def read_weights(
    architecture: str, weights: str, expected: Mapping[str, Tensor], head: str
) -> dict[str, Tensor]:
    """Read the weights of a network without its head.

    Args:
        architecture: torchvision's name of the network.
        weights: imagenet (torchvision's IMAGENET1K_V1, downloaded to the folder of torch.hub if
            necessary), or a file with a state dict in torchvision's names: .safetensors, or
            written by `torch.save`. The state dict may be under the key `state_dict`, and all names
            may begin with `module.`.
        expected: name → tensor of the required shape.
        head: name of the head in the full network; its tensors are ignored.

    Raises:
        RecipeError: if the file is missing, or its tensors do not fit the network.
    """
    path = _imagenet_file(architecture) if weights == "imagenet" else Path(weights).expanduser()
    try:
        saved = _read(path)
        state = {}
        for saved_name, tensor in saved.items():
            name = _current_name(saved_name)
            if not name.startswith(f"{head}."):
                state[name] = tensor
        # Files from before PyTorch 0.4.1 lack BatchNorm's counter, which is not used here.
        for name in expected:
            if name.endswith(".num_batches_tracked"):
                state.setdefault(name, torch.tensor(0))
        check_same_tensors(state, expected)
        bad = first_not_finite(state)
        if bad is not None:
            raise ValueError(f"tensor {bad} has values that are not finite")
    except ValueError as error:
        raise RecipeError(
            f"{{recipe}}.weights={weights}: {path.name} cannot be used for {architecture}; {error}"
        ) from error
    return state


def _imagenet_file(architecture: str) -> Path:
    url = torchvision.models.get_model_weights(architecture)["IMAGENET1K_V1"].url
    path = Path(torch.hub.get_dir(), "checkpoints", Path(urlsplit(url).path).name)
    if not path.exists():
        _download(url, path)
    return path


def _download(url: str, path: Path) -> None:
    # The name ends with the first digits of the SHA-256 sum: resnet18-f37072fd.pth.
    digits = path.stem.rpartition("-")[2]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), hash_prefix=digits)
    # RuntimeError: the sum is another one.
    except (OSError, RuntimeError) as error:
        raise RecipeError(
            f"{{recipe}}.weights=imagenet: {path.name} could not be downloaded "
            f"({one_line(error)}); download {url} to {path.parent}, or use another file with "
            "{recipe}.weights=<path>"
        ) from error


def _read(path: Path) -> dict[str, Tensor]:
    """Read a state dict.

    Raises:
        ValueError: if the file cannot be read or contains something else.
    """
    if not path.is_file():
        raise ValueError("there is no such file; use none, imagenet or a local file")
    try:
        saved = read_without_code(path)
    except ValueError as error:
        raise ValueError(f"it {error}") from error
    if isinstance(saved, dict) and isinstance(saved.get("state_dict"), dict):
        saved = saved["state_dict"]
    if not isinstance(saved, dict) or not all(isinstance(each, Tensor) for each in saved.values()):
        raise ValueError("it is not a state dict (tensors by name)")
    return without_module_prefix(saved)


def _current_name(name: str) -> str:
    """Return the present name of a tensor; old files of DenseNets have `norm.1` for `norm1`."""
    return re.sub(r"\b(norm|conv)\.([12])\.", r"\1\2.", name)
