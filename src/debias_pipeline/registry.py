"""Find the classes of a package by name: methods, networks, data sets."""

import difflib
import importlib
import inspect
import pkgutil
from collections.abc import Collection, Iterable, Mapping
from types import ModuleType
from typing import TypeVar

from debias_pipeline.errors import UserError

T = TypeVar("T")


def discover(package: str, base: type[T], *, skip: Collection[str] = ()) -> dict[str, type[T]]:
    """Import the modules of a package and return its subclasses of `base`, sorted by `name`.

    Abstract classes without a `name` are left out: other classes build on them.

    Args:
        package: such as `debias_pipeline.methods`.
        base: abstract class of what is looked for.
        skip: modules that are not imported, without the package's name.

    Raises:
        UserError: if a class lacks a name or something else that it needs, or if two classes have
            the same name.
    """
    found: dict[str, type[T]] = {}
    for info in pkgutil.iter_modules(importlib.import_module(package).__path__):
        if info.name in skip:
            continue
        for each in _defined_in(importlib.import_module(f"{package}.{info.name}"), base):
            if not _is_complete(each):
                continue
            name = vars(each)["name"]
            if name in found:
                raise UserError(
                    f"{_place(found[name])} and {_place(each)} are both named '{name}'; rename one"
                )
            found[name] = each
    return dict(sorted(found.items()))


def look_up(kind: str, name: str, known: Mapping[str, T]) -> T:
    """Return the entry of a name.

    Raises:
        UserError: if there is none; see `unknown`.
    """
    if name not in known:
        raise UserError(unknown(kind, name, known))
    return known[name]


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """Return a message about an unknown name, with the nearest known name and all of them.

    Args:
        kind: what is looked for, such as "method".
        name: as typed.
        known: names that exist.
    """
    known = list(known)
    close = difflib.get_close_matches(str(name), known, n=1)
    hint = f" Did you mean {close[0]}?" if close else ""
    return f"Unknown {kind} '{name}'.{hint} Choose from: {', '.join(known)}"


def _defined_in(module: ModuleType, base: type[T]) -> list[type[T]]:
    """Return the subclasses of `base` that a module defines, without those that it imports."""
    return [
        each
        for _, each in inspect.getmembers(module, inspect.isclass)
        if issubclass(each, base) and each is not base and each.__module__ == module.__name__
    ]


def _is_complete(each: type) -> bool:
    """Return whether a class can be used; False if it is only a base class of others."""
    has_name = "name" in vars(each)
    missing = sorted(getattr(each, "__abstractmethods__", ()))
    if has_name and missing:
        raise UserError(f"{_place(each)} lacks {', '.join(missing)}; implement what is missing")
    if not has_name and not missing:
        raise UserError(f'{_place(each)} has no name; add name: ClassVar[str] = "…"')
    return has_name


def _place(each: type) -> str:
    return f"{each.__name__} in {each.__module__.replace('.', '/')}.py"
