"""Read and write checkpoints in the format of published code.

A folder holds a file `best_model_<suffix>.th` for each suffix of `Method.published_networks`: a
dict with `steps`, `state_dict` and `optimizer`, written by `torch.save`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeGuard

import torch
from torch import Tensor

from debias_pipeline.errors import UserError
from debias_pipeline.files import replacing
from debias_pipeline.methods import Recipe, make_method
from debias_pipeline.networks.state_files import (
    first_not_finite,
    read_without_code,
    without_module_prefix,
)
from debias_pipeline.training.checkpoint import Checkpoint, restore_method


def read_published(
    folder: Path, recipe: Mapping[str, Any], image_shape: tuple[int, int, int], classes: int
) -> Checkpoint:
    """Read published networks as a checkpoint of seed 0 and the selection rule `last`.

    Args:
        folder: contains the files.
        recipe: of the method, as plain values.
        image_shape: height, width, channels of the data set's images.
        classes: number of labels.

    Raises:
        UserError: if a file is missing, damaged or of another network, or has other values than
            finite tensors.
    """
    method = make_method(recipe, image_shape, classes, (0,))
    suffixes = list(method.published_networks(0))
    files = {suffix: _read(folder / f"best_model_{suffix}.th") for suffix in suffixes}
    try:
        method.load_published_networks(
            0, {suffix: saved["state_dict"] for suffix, saved in files.items()}
        )
    except ValueError as error:
        raise UserError(
            f"the networks in {folder} are not those of {recipe['method']} with network "
            f"{recipe['network']} and {classes} labels ({error}); use the recipe that they were "
            "trained with"
        ) from error
    step = max(int(saved["steps"]) for saved in files.values())
    return Checkpoint(
        recipe=recipe,
        image_shape=method.task.image_shape,
        classes=classes,
        seeds=[0],
        steps={"last": [step]},
        states={"last": [method.replica_state(0)]},
        origin={"pretrained": folder.name},
    )


def check_published(folder: Path) -> None:
    """Check the values in files of published networks, without knowing the data set.

    Raises:
        UserError: if there are none, or one is damaged or has other values than finite tensors.
    """
    files = sorted(folder.glob("best_model_*.th"))
    if not files:
        raise UserError(
            f"pretrained={folder} has no files best_model_*.th; give the folder that contains them"
        )
    for file in files:
        _read(file)


def write_published(checkpoint: Checkpoint, rule: str, seed: int, folder: Path) -> list[Path]:
    """Write the networks of one seed in the published format.

    Args:
        checkpoint: of this project.
        rule: a selection rule of the checkpoint.
        seed: a seed of the checkpoint.
        folder: created if it does not exist.

    Returns:
        The files written.

    Raises:
        UserError: if the checkpoint lacks the rule or the seed, or the method has no such format.
    """
    of_seed = checkpoint.of_seed(rule, seed)
    method = restore_method(of_seed, rule, torch.device("cpu"))
    networks = method.published_networks(replica=0)
    if not networks:
        raise UserError(f"{checkpoint.recipe['method']} has no published checkpoint format")
    written = []
    for suffix, state in networks.items():
        saved = {
            "steps": of_seed.steps[rule][0],
            "state_dict": state,
            "optimizer": _fresh_optimiser(state, method.recipe),
        }
        path = folder / f"best_model_{suffix}.th"
        # Given a path, `torch.save` would write the temporary name into the file.
        with replacing(path) as temporary, temporary.open("wb") as file:
            torch.save(saved, file)
        written.append(path)
    return written


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise UserError(f"{path} does not exist; set pretrained= to the folder that contains it")
    try:
        saved = read_without_code(path)
    except ValueError as error:
        raise UserError(f"{path} {error}") from error
    if not _is_published(saved):
        raise UserError(
            f"{path} is not a published checkpoint; it must be a dict with steps (a number) and "
            "state_dict (tensors by name)"
        )
    state = without_module_prefix(saved["state_dict"])
    bad = first_not_finite(state)
    if bad is not None:
        raise UserError(
            f"{path}: {bad} has values that are not finite (NaN or infinity), because its training "
            "failed; use a checkpoint of an earlier step"
        )
    return {**saved, "state_dict": state}


def _is_published(saved: object) -> TypeGuard[dict[str, Any]]:
    if not isinstance(saved, dict) or not isinstance(saved.get("steps"), int):
        return False
    state = saved.get("state_dict")
    return isinstance(state, dict) and all(isinstance(each, Tensor) for each in state.values())


def _fresh_optimiser(state: Mapping[str, Tensor], recipe: Recipe) -> dict[str, Any]:
    """Return a new Adam state, which published scripts expect in addition to the networks."""
    parameters = [
        tensor.clone().requires_grad_() for tensor in state.values() if tensor.is_floating_point()
    ]
    return torch.optim.Adam(parameters, lr=recipe.lr).state_dict()
