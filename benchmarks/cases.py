"""What is measured: data set × method × seeds at once × precision."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.steps import methods_with_recipe

PRECISIONS = ("fp32", "bf16")
SIMPLEST_FIRST = ("vanilla", "lff", "disent")
DATASETS = ("cmnist", "cifar10c")
REPLICAS = (1, 3, 5, 12)


@dataclass(frozen=True)
class Case:
    """One row of the table."""

    dataset: str
    method: str
    replicas: int
    precision: str

    @property
    def name(self) -> str:
        """As people read it."""
        return f"{self.dataset} {self.method} R={self.replicas} {self.precision}"


@dataclass(frozen=True)
class Choice:
    """Which cases are wanted; an empty sequence wants all."""

    methods: Sequence[str] = ()
    replicas: Sequence[int] = ()
    precisions: Sequence[str] = ()

    def cases(self, dataset: str) -> Iterator[Case]:
        """The wanted cases of a data set."""
        recipes = methods_with_recipe(dataset)
        methods = [name for name in self.methods or methods_to_measure() if name in recipes]
        replicas = self.replicas or REPLICAS
        precisions = self.precisions or PRECISIONS
        for method, count, precision in itertools.product(methods, replicas, precisions):
            yield Case(dataset, method, count, precision)


def methods_to_measure() -> list[str]:
    """The methods that have a recipe for a measured data set, the simplest first."""
    found = {name for dataset in DATASETS for name in methods_with_recipe(dataset)}
    ours = [name for name in SIMPLEST_FIRST if name in found]
    return [*ours, *sorted(found.difference(ours))]
