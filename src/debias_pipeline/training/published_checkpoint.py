"""Checkpoints in the format of DisEnt's published code.

A folder holds `best_model_l.th` (intrinsic branch) and `best_model_b.th` (bias branch), each a
dict with `steps`, `state_dict` and `optimizer` written by `torch.save`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeGuard

import torch
from torch import Tensor

from debias_pipeline.errors import UserError
from debias_pipeline.methods import Recipe, Task, get_method
from debias_pipeline.networks.state_files import first_not_finite, read_without_code
from debias_pipeline.training.checkpoint import Checkpoint, restore_method


def read_published(
    folder: Path, recipe: Mapping[str, Any], image_shape: tuple[int, int, int], classes: int
) -> Checkpoint:
    """Read published networks as a checkpoint of one seed, 0, under the choice `last`.

    Args:
        folder: holds the files.
        recipe: of the method whose networks they are, as plain values.
        image_shape: height, width, channels of the images in the catalog.
        classes: number of labels.

    Raises:
        UserError: if a file is missing, damaged, not plain tensors, not finite, or of another
            network.
    """
    method_type = get_method(recipe["method"])
    typed_recipe = method_type.recipe_type.model_validate(recipe)
    task = Task(typed_recipe.network_input(image_shape), classes, (0,))
    method = method_type(typed_recipe, task)
    suffixes = list(method.published_networks(0))
    files = {suffix: _read(folder / f"best_model_{suffix}.th") for suffix in suffixes}
    try:
        method.load_published_networks(
            0, {suffix: saved["state_dict"] for suffix, saved in files.items()}
        )
    except ValueError as error:
        raise UserError(
            f"The networks in {folder} are not those of {recipe['method']} with network "
            f"{recipe['network']} and {classes} labels: {error}"
        ) from error
    step = max(int(saved["steps"]) for saved in files.values())
    return Checkpoint(
        recipe=recipe,
        image_shape=task.image_shape,
        classes=classes,
        seeds=[0],
        steps={"last": [step]},
        states={"last": [method.replica_state(0)]},
        origin={"pretrained": folder.name},
    )


def write_published(checkpoint: Checkpoint, choice: str, seed: int, folder: Path) -> list[Path]:
    """Write the networks of one seed as published code stores them.

    Args:
        checkpoint: of this project.
        choice: one of the selection rules.
        seed: one of the checkpoint's.
        folder: is made if need be.

    Returns:
        The files written.

    Raises:
        UserError: if the checkpoint has no such choice or seed, or its method no such format.
    """
    if choice not in checkpoint.steps:
        raise UserError(f"The checkpoint has no choice '{choice}': {', '.join(checkpoint.steps)}")
    if seed not in checkpoint.seeds:
        raise UserError(
            f"The checkpoint has no seed {seed}: {', '.join(map(str, checkpoint.seeds))}"
        )
    replica = list(checkpoint.seeds).index(seed)
    method = restore_method(checkpoint, choice, torch.device("cpu"))
    networks = method.published_networks(replica)
    if not networks:
        raise UserError(
            f"No published checkpoint format of {checkpoint.recipe['method']} is known."
        )
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for suffix, state in networks.items():
        saved = {
            "steps": checkpoint.steps[choice][replica],
            "state_dict": state,
            "optimizer": _fresh_optimiser(state, method.recipe),
        }
        path = folder / f"best_model_{suffix}.th"
        temporary = path.with_suffix(".tmp")
        torch.save(saved, temporary)
        temporary.replace(path)
        written.append(path)
    return written


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise UserError(f"{path} does not exist: pretrained= names the folder that holds it.")
    try:
        saved = read_without_code(path)
    except ValueError as error:
        raise UserError(f"{path} {error}.") from error
    if not _is_published(saved):
        raise UserError(
            f"{path} is not a published checkpoint: it should be a dict with steps (a number) and "
            "state_dict (tensors by name)."
        )
    state = _without_module_prefix(saved["state_dict"])
    bad = first_not_finite(state)
    if bad is not None:
        raise UserError(
            f"{path}: {bad} has values that are not finite (NaN or infinity), so its training "
            "failed; use a checkpoint of an earlier step."
        )
    return {**saved, "state_dict": state}


def _without_module_prefix(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors by name, without the prefix that DataParallel gives to every name."""
    prefix = "module."
    if not all(name.startswith(prefix) for name in state):
        prefix = ""
    return {name.removeprefix(prefix): tensor for name, tensor in state.items()}


def _is_published(saved: object) -> TypeGuard[dict[str, Any]]:
    if not isinstance(saved, dict) or not isinstance(saved.get("steps"), int):
        return False
    state = saved.get("state_dict")
    return isinstance(state, dict) and all(isinstance(each, Tensor) for each in state.values())


def _fresh_optimiser(state: Mapping[str, Tensor], recipe: Recipe) -> dict[str, Any]:
    """What published scripts expect beside the networks; Adam's own state is not kept."""
    parameters = [
        tensor.clone().requires_grad_() for tensor in state.values() if tensor.is_floating_point()
    ]
    return torch.optim.Adam(parameters, lr=recipe.lr).state_dict()
