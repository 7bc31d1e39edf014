"""Debiasing methods, one file each; every subclass of `Method` in this package is found by name."""

from functools import cache

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
