"""Bias attributes of a data set, and the choice of the one that is treated as the bias."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt
from pydantic import Field

from debias_pipeline.biased_data.base import DataOptions
from debias_pipeline.errors import UserError
from debias_pipeline.registry import unknown

UNKNOWN_BIAS: Final = -1
# Names are part of column names, of --params and of folder names.
NAME_PATTERN: Final = "[A-Za-z0-9_]+"
_JOINT: Final = "+"
# The manifest stores int16.
_MOST_VALUES: Final = int(np.iinfo(np.int16).max) + 1


class AttributeOptions(DataOptions):
    """Options of a data set that has several bias attributes.

    Attributes:
        bias: name of the attribute that methods, metrics and reports treat as the bias, or several
            names joined by "+" for their combination; "" for the first attribute.
    """

    label_options: ClassVar[frozenset[str]] = frozenset({"bias"})

    bias: str = Field(default="", pattern=rf"^({NAME_PATTERN}(\+{NAME_PATTERN})*)?$")


@dataclass(frozen=True)
class Attribute:
    """A bias attribute of all images of a data set.

    Attributes:
        name: matches NAME_PATTERN; a combination has the names of its parts, joined by "+".
        value_names: a name per value.
        values: int16, N, −1 where unknown.
        aligned: for each label the value that goes with it, None if unknown.
    """

    name: str
    value_names: Sequence[str]
    values: npt.NDArray[np.int16]
    aligned: Sequence[int | None]

    def conflicting(self, label: npt.NDArray[np.int16]) -> list[bool | None]:
        """Return whether each image is bias-conflicting: its value is not that of its label.

        Args:
            label: N.

        Returns:
            N values, None where the value or the aligned value is unknown.
        """
        return [
            None
            if value == UNKNOWN_BIAS or self.aligned[own] is None
            else value != self.aligned[own]
            for own, value in zip(label.tolist(), self.values.tolist(), strict=True)
        ]


def choose_bias(attributes: Sequence[Attribute], choice: str) -> Attribute:
    """Return the attribute that is treated as the bias.

    Args:
        attributes: at least one.
        choice: see `AttributeOptions.bias`.

    Returns:
        One of the attributes, or a combination. Its values are the pairs (triples, …) of values;
        it is unknown where one of its parts is, and an image conflicts if it does in any part.

    Raises:
        UserError: if there is no such attribute, a name is repeated, or a combination has too many
            values.
    """
    by_name = {each.name: each for each in attributes}
    names = choice.split(_JOINT) if choice else [attributes[0].name]
    for name in names:
        if name not in by_name:
            raise UserError(unknown("bias attribute", name, list(by_name)))
    if len(set(names)) < len(names):
        raise UserError(f"bias={choice} names an attribute twice; name each once")
    chosen, *others = (by_name[name] for name in names)
    for other in others:
        chosen = _combination(chosen, other)
    return chosen


def _combination(first: Attribute, second: Attribute) -> Attribute:
    size = len(second.value_names)
    if len(first.value_names) * size > _MOST_VALUES:
        raise UserError(
            f"bias={first.name}{_JOINT}{second.name} has {len(first.value_names) * size:,} "
            f"combinations of values, at most {_MOST_VALUES:,} are supported; choose fewer "
            f"attributes"
        )
    known = (first.values != UNKNOWN_BIAS) & (second.values != UNKNOWN_BIAS)
    # The product of numbers below 2¹⁵ does not fit into int16.
    joined = first.values.astype(np.int32) * size + second.values
    return Attribute(
        name=f"{first.name}{_JOINT}{second.name}",
        value_names=["/".join(pair) for pair in product(first.value_names, second.value_names)],
        values=np.where(known, joined, UNKNOWN_BIAS).astype(np.int16),
        aligned=[
            None if one is None or other is None else one * size + other
            for one, other in zip(first.aligned, second.aligned, strict=True)
        ],
    )
