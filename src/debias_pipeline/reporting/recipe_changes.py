"""Compare the recipe of a run with the one in the project's files."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from debias_pipeline.nested import changes


@dataclass(frozen=True)
class RecipeChange:
    """A field whose value is not that of the recipe in the project's files.

    Attributes:
        field: its name.
        default: value in the files, None if they have none.
        used: value of the training run.
    """

    field: str
    default: Any
    used: Any


def find_recipe_changes(used: Mapping[str, Any], default: Mapping[str, Any]) -> list[RecipeChange]:
    """Compare the recipe of a training run with the one in the project's files.

    Fields that only one of them has, as an earlier version wrote the other, are ignored.

    Args:
        used: recipe of the training run.
        default: recipe in the files: the recipe of a run's parameters, with the fields that they
            replace set back, see `recipes.resolve_method`.
    """
    common = used.keys() & default.keys()
    # The record of a training run was read from JSON.
    found = changes(
        json.loads(json.dumps({key: default[key] for key in default if key in common})),
        {key: used[key] for key in used if key in common},
    )
    return [RecipeChange(name, old, new) for name, old, new in found]


def changes_in_words(recipe_changes: Sequence[RecipeChange]) -> str:
    """Return "steps 40 instead of 50000, network mlp instead of resnet18", or ""."""
    return ", ".join(
        f"{each.field} {_value(each.used)} instead of {_value(each.default)}"
        for each in recipe_changes
    )


def _value(value: Any) -> str:
    if value is None:
        return "none"
    return value if isinstance(value, str) else json.dumps(value)
