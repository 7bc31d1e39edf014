"""Flatten nested mappings, such as parameters, to dotted names."""

from collections.abc import Iterator, Mapping
from typing import Any


def flattened(values: Mapping[str, Any], separator: str = ".") -> dict[str, Any]:
    """Return a mapping without nesting: keys of inner mappings are joined by the separator."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            inner_values = flattened(value, separator)
            flat.update({f"{name}{separator}{inner}": each for inner, each in inner_values.items()})
        else:
            flat[name] = value
    return flat


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Yield dotted name, old and new value of every difference; a missing value is None."""
    was, now = flattened(old), flattened(new)
    for name in {**now, **was}:
        if was.get(name) != now.get(name):
            yield name, was.get(name), now.get(name)
