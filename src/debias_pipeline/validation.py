"""Validate what users wrote by a pydantic model; problems become one line."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, TypeVar

from pydantic import BaseModel, BeforeValidator, Field, ValidationError

from debias_pipeline.errors import UserError
from debias_pipeline.registry import unknown

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

Model = TypeVar("Model", bound=BaseModel)
Item = TypeVar("Item")


def validated(
    model: type[Model],
    fields: object,
    *,
    what: str,
    prefix: str = "",
    known: Sequence[str] | None = None,
    file: str = "",
) -> Model:
    """Return fields as an instance of a model.

    Args:
        fields: a mapping.
        what: what a field is called in messages, such as "parameter".
        prefix: of the fields where the user writes them, such as "recipe.".
        known: names to suggest for an unknown field; by default those of the model.
        file: in which the user wrote the fields.

    Raises:
        UserError: if a field is unknown or its value is invalid.
    """
    place = f" ({file})" if file else ""
    known = known or [*model.model_fields]
    for key in fields if isinstance(fields, Mapping) else ():
        if key not in known:
            raise UserError(f"{unknown(what, key, known)}{place}")
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        problems = "; ".join(_in_words(each, prefix) for each in error.errors())
        raise UserError(f"{problems}{place}") from error


def _split_at_plus(value: object) -> object:
    """Return a typed list: Kedro splits --params at commas, so items are joined by a plus.

    Items of lists are kept once; another value becomes a list of one item.
    """
    items = value.split("+") if isinstance(value, str) else value
    if not isinstance(items, list):
        return [items]
    return [*dict.fromkeys(each.strip() if isinstance(each, str) else each for each in items)]


# In conf/ a list, after --params items joined by a plus; at least one item.
TypedList = Annotated[list[Item], BeforeValidator(_split_at_plus), Field(min_length=1)]


def _in_words(problem: "ErrorDetails", prefix: str) -> str:
    key = f"{prefix}{'.'.join(map(str, problem['loc']))}".removesuffix(".")
    if problem["type"] in ("dict_type", "model_type"):
        return f"{key} must be a mapping, got {problem['input']!r}"
    if problem["type"] == "extra_forbidden":
        return f"Unknown key {key}; correct or remove it"
    return f"{key}={problem['input']!r}: {problem['msg'].removeprefix('Value error, ')}"
