"""The range in which a search looks for the value of a recipe field."""

from collections.abc import Sequence
from typing import Any, TypeAlias

from pydantic import BaseModel, ConfigDict, model_validator

Value: TypeAlias = bool | int | float | str


class Range(BaseModel):
    """Numbers from `low` to `high`, or a list of values.

    Attributes:
        low: the smallest number.
        high: the largest number. If both are integers, only integers are tried in integer fields.
        log: whether the logarithm is drawn evenly, for numbers of several orders of magnitude.
        choices: the values, instead of `low` and `high`.
    """

    model_config = ConfigDict(strict=True, extra="forbid")

    low: int | float | None = None
    high: int | float | None = None
    log: bool = False
    choices: list[Value] = []

    @model_validator(mode="before")
    @classmethod
    def _is_a_mapping(cls, fields: Any) -> Any:
        if not isinstance(fields, dict):
            raise ValueError("use {low: …, high: …, log: true} or {choices: […]}")
        return fields

    @model_validator(mode="after")
    def _is_one_of_both(self) -> "Range":
        if self.low is None or self.high is None:
            if self.low != self.high or self.log or len(self.choices) < 2:
                raise ValueError("give low and high, or choices with two or more values")
        elif self.choices:
            raise ValueError("choices cannot be used together with low and high; use one of them")
        elif not self.low < self.high:
            raise ValueError(f"low={self.low} is not below high={self.high}; exchange them")
        elif self.log and self.low <= 0:
            raise ValueError(f"low={self.low} has no logarithm; use log: false, or low above 0")
        return self

    @property
    def ends(self) -> Sequence[Value]:
        """Return values that must be valid: all choices, or the smallest and largest number."""
        if self.low is None or self.high is None:
            return self.choices
        return [self.low, self.high]

    def contains(self, value: Any) -> bool:
        """Return whether a value can be tried."""
        if self.low is None or self.high is None:
            return value in self.choices
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return is_number and self.low <= value <= self.high

    def __str__(self) -> str:
        if self.low is None:
            return ", ".join(map(str, self.choices))
        return f"{self.low} to {self.high}"
