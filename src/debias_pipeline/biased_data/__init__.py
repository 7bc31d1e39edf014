"""Build or read biased data sets.

A data set is a module in `sets` that defines a concrete subclass of `BiasedDataset`; no list names
it.
"""

from functools import cache

from debias_pipeline.biased_data.base import (
    BiasedData,
    BiasedDataset,
    ContactSheet,
    DataOptions,
    SetSize,
)
from debias_pipeline.registry import discover, look_up

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
    return look_up("dataset", name, _datasets())


def dataset_names() -> tuple[str, ...]:
    """Return the names of all data sets, sorted."""
    return tuple(_datasets())


# On first use, since the modules of `sets` import this package.
@cache
def _datasets() -> dict[str, BiasedDataset]:
    found = discover(f"{__name__}.sets", BiasedDataset)
    return {name: each() for name, each in found.items()}
