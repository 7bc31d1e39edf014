"""Build or read biased data sets.

A data set is a module in `sets` that defines a concrete subclass of `BiasedDataset`; no list names
it.
"""

import difflib
import importlib
import inspect
import pkgutil
from functools import cache
from types import ModuleType

from debias_pipeline.biased_data.base import (
    BiasedData,
    BiasedDataset,
    ContactSheet,
    DataOptions,
    SetSize,
)
from debias_pipeline.errors import UserError

__all__ = [
    "BiasedData",
    "BiasedDataset",
    "ContactSheet",
    "DataOptions",
    "SetSize",
    "dataset_names",
    "get_dataset",
]


def get_dataset(name: str) -> BiasedDataset:
    """Return the data set of a name.

    Raises:
        UserError: if there is no data set of this name; the message lists the names.
    """
    datasets = _datasets()
    if name in datasets:
        return datasets[name]
    close = difflib.get_close_matches(str(name), datasets, n=1)
    hint = f" Did you mean {close[0]}?" if close else ""
    raise UserError(f"Unknown dataset '{name}'.{hint} Choose one of: {', '.join(datasets)}.")


def dataset_names() -> tuple[str, ...]:
    """Return the names of all data sets, sorted."""
    return tuple(_datasets())


# On first use, since the modules of `sets` import this package.
@cache
def _datasets() -> dict[str, BiasedDataset]:
    sets = importlib.import_module(f"{__name__}.sets")
    names = [info.name for info in pkgutil.iter_modules(sets.__path__)]
    return _find_datasets([importlib.import_module(f"{sets.__name__}.{name}") for name in names])


def _find_datasets(modules: list[ModuleType]) -> dict[str, BiasedDataset]:
    """Return an instance of every concrete data set that the modules define, by name, sorted.

    Raises:
        TypeError: if a data set has no name, or the name of another.
    """
    found: dict[str, BiasedDataset] = {}
    for module in modules:
        for _, member in inspect.getmembers(module, inspect.isclass):
            if member.__module__ != module.__name__ or not issubclass(member, BiasedDataset):
                continue
            if inspect.isabstract(member):
                continue
            where = f"{member.__name__} in {module.__name__}"
            name = getattr(member, "name", None)
            if not name:
                raise TypeError(f"{where} has no name; set e.g. name = 'my_set'")
            if name in found:
                raise TypeError(
                    f"{where} has the name '{name}' of {type(found[name]).__name__} in "
                    f"{type(found[name]).__module__}; choose another name"
                )
            found[name] = member()
    return dict(sorted(found.items()))
