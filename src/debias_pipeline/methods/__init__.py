"""Debiasing methods, one file each, found by name."""

import importlib
import pkgutil
from collections.abc import Iterable, Iterator
from functools import cache

from debias_pipeline.errors import UserError
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
    "methods_by_name",
]


@cache
def _method_types() -> dict[str, type[Method]]:
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    return methods_by_name(_with_descendants(Method.__subclasses__()))


def methods_by_name(types: Iterable[type[Method]]) -> dict[str, type[Method]]:
    """Those of some classes that are methods of this project.

    Raises:
        UserError: if one of the project lacks a name or something else that a method needs, or
            has the name of another.
    """
    found: dict[str, type[Method]] = {}
    for each in types:
        # Someone may build on a method elsewhere without making it one of the project's.
        if each.__module__.startswith(f"{__name__}.") and _is_complete(each):
            other = found.setdefault(each.name, each)
            if other is not each:
                raise UserError(
                    f"{_place(other)} and {_place(each)} are both named '{each.name}': rename one"
                )
    return found


def _is_complete(method: type[Method]) -> bool:
    """Whether a class is a method; one that only others build on is abstract and has no name.

    Raises:
        UserError: if it is half a method.
    """
    lacking = sorted(method.__abstractmethods__)
    named = "name" in vars(method)
    if named and lacking:
        raise UserError(f"{_place(method)} lacks {', '.join(lacking)}: write what a method needs")
    if not named and not lacking:
        raise UserError(
            f'{_place(method)} has no name: add name: ClassVar[str] = "…", to be typed in '
            "--pipeline=…"
        )
    return named


def _place(method: type[Method]) -> str:
    return f"{method.__name__} in {method.__module__.replace('.', '/')}.py"


def _with_descendants(types: Iterable[type[Method]]) -> Iterator[type[Method]]:
    for each in types:
        yield each
        yield from _with_descendants(each.__subclasses__())


def method_names() -> list[str]:
    """The names of all methods, sorted.

    Raises:
        UserError: see `methods_by_name`.
    """
    return sorted(_method_types())


def get_method(name: str) -> type[Method]:
    """The method of that name.

    Raises:
        KeyError: if there is none.
    """
    return _method_types()[name]
