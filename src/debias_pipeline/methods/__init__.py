"""Debiasing methods, one file each; every subclass of `Method` in this package is found by name."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from debias_pipeline.methods.base import (
    Batch,
    Losses,
    Method,
    Optimiser,
    Plan,
    Recipe,
    Run,
    Sampling,
    Stage,
    Task,
    Update,
    check_shape,
)
from debias_pipeline.registry import discover, look_up

__all__ = [
    "Batch",
    "Losses",
    "Method",
    "Optimiser",
    "Plan",
    "Recipe",
    "Run",
    "Sampling",
    "Stage",
    "Task",
    "Update",
    "check_shape",
    "get_method",
    "make_method",
    "method_names",
]


@cache
def _methods() -> dict[str, type[Method]]:
    return discover(__name__, Method)


def method_names() -> list[str]:
    """Return the names of all methods, sorted.

    Raises:
        UserError: see `registry.discover`.
    """
    return list(_methods())


def get_method(name: str) -> type[Method]:
    """Return the class of a method.

    Raises:
        UserError: if there is no method of that name.
    """
    return look_up("method", name, _methods())


def make_method(
    recipe: Mapping[str, Any], image_shape: Sequence[int], classes: int, seeds: Sequence[int]
) -> Method:
    """Return the untrained networks of a method for all seeds.

    Args:
        recipe: a resolved recipe, as plain values.
        image_shape: height, width, channels of the data set's images.
        classes: number of labels.
        seeds: a seed per replica.

    Raises:
        UserError: if there is no such method.
    """
    method_type = get_method(recipe["method"])
    typed_recipe = method_type.recipe_type.model_validate(recipe)
    height, width, channels = image_shape
    shape = typed_recipe.network_input((height, width, channels))
    return method_type(typed_recipe, Task(shape, classes, seeds))
