"""Read state dicts from files of unknown origin."""

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor


def read_without_code(path: Path) -> object:
    """Read a .safetensors file or a file of `torch.save`, without running code from it.

    Raises:
        ValueError: if the file is damaged, or contains more than tensors and plain values.
    """
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        saved: object = torch.load(path, map_location="cpu", weights_only=True)
        return saved
    except pickle.UnpicklingError as error:
        raise ValueError(
            "contains more than tensors and plain values, or is damaged, and was not opened; "
            "get it from a source you trust and save only its state_dict"
        ) from error
    except (
        RuntimeError,
        EOFError,
        OSError,
        ValueError,
        KeyError,
        SafetensorError,
        zipfile.BadZipFile,
    ) as error:
        raise ValueError("is damaged, truncated or of another format; get it again") from error


def first_not_finite(state: Mapping[str, Tensor]) -> str | None:
    """Return the name of the first tensor with a NaN or an infinity, or None."""
    return next((name for name, each in state.items() if not each.isfinite().all()), None)


def without_module_prefix(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors by name, without the prefix that DataParallel adds to every name."""
    prefix = "module."
    if not all(name.startswith(prefix) for name in state):
        prefix = ""
    return {name.removeprefix(prefix): tensor for name, tensor in state.items()}
