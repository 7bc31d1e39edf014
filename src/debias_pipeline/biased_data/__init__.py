"""How each biased data set is made or read: one file a set.

A new set is one new module here that holds a concrete `BiasedDataset`; it is found by itself.
"""

import difflib
import importlib
import inspect
import pkgutil
from functools import cache

from debias_pipeline.biased_data.base import (
    BiasedData,
    BiasedDataset,
    ContactSheet,
    DataOptions,
    Headline,
    SetSize,
)
from debias_pipeline.errors import UserError

__all__ = [
    "BiasedData",
    "BiasedDataset",
    "ContactSheet",
    "DataOptions",
    "Headline",
    "SetSize",
    "dataset_names",
    "get_dataset",
]


def get_dataset(name: str) -> BiasedDataset:
    """Find a data set by the name typed in `--params dataset=…`.

    Raises:
        UserError: if there is no such set; the message lists the choices.
    """
    datasets = _discover()
    if name in datasets:
        return datasets[name]
    close = difflib.get_close_matches(str(name), datasets, n=1)
    hint = f" Did you mean {close[0]}?" if close else ""
    raise UserError(f"Unknown dataset '{name}'.{hint} Choose one of: {', '.join(datasets)}.")


def dataset_names() -> tuple[str, ...]:
    """Names of all data sets, sorted."""
    return tuple(_discover())


# Found on first use, not on import: the modules import this package themselves, and whoever
# wants only the manifest's schema should not pay for every set.
@cache
def _discover() -> dict[str, BiasedDataset]:
    found: dict[str, BiasedDataset] = {}
    for info in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{info.name}")
        for _, member in inspect.getmembers(module, inspect.isclass):
            if member.__module__ != module.__name__ or not issubclass(member, BiasedDataset):
                continue
            if inspect.isabstract(member):
                continue
            if member.name in found:
                raise TypeError(f"Two data sets call themselves '{member.name}'")
            found[member.name] = member()
    return dict(sorted(found.items()))
