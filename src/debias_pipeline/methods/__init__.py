"""Debiasing methods, one file each, found by name."""

import importlib
import pkgutil
from collections.abc import Iterable, Iterator
from functools import cache

from debias_pipeline.methods.base import Batch, Losses, Method, Recipe, Task

__all__ = ["Batch", "Losses", "Method", "Recipe", "Task", "get_method", "method_names"]


@cache
def _method_types() -> dict[str, type[Method]]:
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    # A class that only others build on has no name of its own.
    types = _with_descendants(Method.__subclasses__())
    return {each.name: each for each in types if "name" in vars(each)}


def _with_descendants(types: Iterable[type[Method]]) -> Iterator[type[Method]]:
    for each in types:
        yield each
        yield from _with_descendants(each.__subclasses__())


def method_names() -> list[str]:
    """The names of all methods, sorted."""
    return sorted(_method_types())


def get_method(name: str) -> type[Method]:
    """The method of that name.

    Raises:
        KeyError: if there is none.
    """
    return _method_types()[name]
