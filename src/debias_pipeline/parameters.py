"""What `--params` may say: checked as a whole, before anything runs."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    StrictStr,
    ValidationError,
    field_validator,
)

from debias_pipeline.biased_data import get_dataset
from debias_pipeline.biased_data.percent import parse_percent
from debias_pipeline.errors import UserError
from debias_pipeline.methods import Recipe, get_method, method_names

Model = TypeVar("Model", bound=BaseModel)

RECIPES_FILE = "conf/base/parameters_recipes.yml"
# What a method's block there holds.
BLOCK = ("recipes", "published_accuracy")


# Values of conf/base/parameters.yml that a command need not name.
DEFAULTS = {"raw_dir": "data/01_raw", "data_seed": 0, "device": "auto", "precision": "fp32"}


class RunParameters(BaseModel):
    """The parameters of a run; see conf/base/parameters.yml."""

    model_config = ConfigDict(extra="forbid")

    dataset: StrictStr
    percent: Any
    data_seed: StrictInt = Field(ge=0)
    raw_dir: StrictStr
    # Generators take no more, and tables hold seeds as int64.
    seed: StrictInt = Field(ge=0, lt=2**32)
    seeds: StrictInt = Field(ge=1)
    device: Literal["auto", "cpu", "cuda", "mps"]
    precision: Literal["fp32", "bf16"]
    resume: StrictBool
    recipe: dict[str, Any]
    pretrained: StrictStr

    @field_validator("raw_dir", "pretrained", mode="before")
    @classmethod
    def _folders_may_look_like_numbers(cls, value: object) -> object:
        # Kedro reads --params raw_dir=2024 as a number.
        return str(value) if type(value) in (int, float) else value


def resolve_parameters(config: Mapping[str, Any]) -> dict[str, Any]:
    """Check the parameters of a run and look its recipes up.

    Args:
        config: what the parameters files and `--params` say: the fields of RunParameters, those
            of the data set's options, and a block `recipes`, `published_accuracy` per method.

    Returns:
        The fields of RunParameters, `data_options`, `typed` (see `typed_parameters`), and
        `recipe`, `published_accuracy` per method; `recipe` only where there is one for the data
        set.

    Raises:
        UserError: if a parameter is not what it may be.
    """
    blocks = {name: config.get(name, {}) for name in method_names()}
    chosen = {key: value for key, value in config.items() if key not in blocks}
    _check_blocks(blocks, chosen)
    options_type = get_dataset(chosen["dataset"]).options_type
    options = {key: chosen.pop(key) for key in options_type.model_fields if key in chosen}
    known = [*RunParameters.model_fields, *options_type.model_fields]
    run = validated(RunParameters, chosen, known=known, what="parameter")
    parse_percent(run.percent)
    resolved: dict[str, Any] = {
        **run.model_dump(),
        "data_options": validated(
            options_type, options, known=known, what="parameter"
        ).model_dump(),
    }
    resolved["typed"] = typed_parameters(resolved)
    for name, block in blocks.items():
        published = block.get("published_accuracy", {}).get(run.dataset, {})
        resolved[name] = {"published_accuracy": published.get(run.percent)}
        if run.dataset in block.get("recipes", {}):
            table = block["recipes"][run.dataset]
            resolved[name]["recipe"] = resolve_recipe(name, table, run.percent, run.recipe)
    check_overrides(run.recipe, blocks)
    return resolved


def typed_parameters(run: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `--params` of a command must name to make a run of these parameters again.

    Args:
        run: the fields of RunParameters, and `data_options`.

    Returns:
        Data set, percent, and whatever is not at its default; `recipe` holds the fields that were
        overridden. The seeds, which the training record has, are left out.
    """
    options = get_dataset(run["dataset"]).options_type.model_fields
    return {
        "dataset": run["dataset"],
        "percent": run["percent"],
        **{key: run[key] for key, default in DEFAULTS.items() if run[key] != default},
        **{
            key: value
            for key, value in run["data_options"].items()
            if value != options[key].default
        },
        **({"pretrained": run["pretrained"]} if run["pretrained"] else {}),
        "recipe": run["recipe"],
    }


def resolve_recipe(
    method: str,
    table: Mapping[str, Any],
    percent: str,
    overrides: Mapping[str, Any],
    *,
    prefix: str = "recipe.",
) -> dict[str, Any]:
    """The recipe of one method for one data set and percent.

    Args:
        method: name of the method.
        table: the recipe's fields, and under `at` those that hold for one percent only.
        percent: such as 2pct.
        overrides: fields changed by the user; those that the method lacks are left out.
        prefix: what goes before a field where the user types it.

    Returns:
        Every field of the method's recipe, as plain values.

    Raises:
        UserError: if a field is unknown or not given, or its value is not one that it may have.
    """
    recipe_type = get_method(method).recipe_type
    published = {key: value for key, value in table.items() if key != "at"}
    exceptions = table.get("at", {}).get(percent, {})
    mine = {key: value for key, value in overrides.items() if key in recipe_type.model_fields}
    fields = {"method": method, **published, **exceptions, **mine}
    _check_fields(method, fields, recipe_type, prefix)
    recipe = validated(
        recipe_type,
        fields,
        known=[*recipe_type.model_fields],
        what="recipe field",
        prefix=prefix,
    )
    return recipe.model_dump()


def _check_blocks(blocks: Mapping[str, Any], others: Mapping[str, Any]) -> None:
    """Refuse a block of recipes that would be overlooked."""
    for key, value in others.items():
        if isinstance(value, Mapping) and set(BLOCK) & set(value):
            raise UserError(f"{unknown('method', key, method_names())} ({RECIPES_FILE})")
    for method, block in blocks.items():
        _check_mapping(method, block)
        for key, tables in block.items():
            if key not in BLOCK:
                raise UserError(f"{unknown(f'key of {method}', key, BLOCK)} ({RECIPES_FILE})")
            _check_mapping(f"{method}.{key}", tables)
            for dataset, table in tables.items():
                _check_mapping(f"{method}.{key}.{dataset}", table)


def _check_mapping(place: str, value: object) -> None:
    if not isinstance(value, Mapping):
        raise UserError(f"{place}={value!r} holds no keys with values ({RECIPES_FILE})")


def _check_fields(
    method: str, fields: Mapping[str, Any], recipe_type: type[Recipe], prefix: str
) -> None:
    """Tell of which method's recipe a field is wrong, which a field alone does not say."""
    known = recipe_type.model_fields
    for key in fields:
        if key not in known:
            text = unknown(f"field of {method}'s recipe", key, sorted({*known} - {"method"}))
            raise UserError(f"{text} ({RECIPES_FILE})")
    lacking = [name for name, each in known.items() if each.is_required() and name not in fields]
    if lacking:
        raise UserError(
            f"The recipe of {method} lacks {', '.join(lacking)}: add to its block in "
            f"{RECIPES_FILE}, or for this run {prefix}{lacking[0]}=…"
        )


def data_folder(
    dataset: str, percent: str, options: Mapping[str, Any], run: Mapping[str, Any]
) -> str:
    """Where a data set is filed, such as cmnist/0.5pct; see `BiasedData.folder`.

    Args:
        dataset: its name.
        percent: such as 2pct.
        options: the data set's own.
        run: `raw_dir` and `data_seed`.
    """
    biased = get_dataset(dataset)
    return biased.folder(
        percent,
        Path(run["raw_dir"]),
        run["data_seed"],
        biased.options_type.model_validate(options),
    )


def check_overrides(overrides: Mapping[str, Any], methods: Iterable[str]) -> None:
    """Refuse a recipe field that none of the methods knows.

    Raises:
        UserError: naming the fields there are.
    """
    fields = {field for name in methods for field in get_method(name).recipe_type.model_fields} - {
        "method"
    }
    for key in overrides:
        if key not in fields:
            raise UserError(unknown("recipe field", key, sorted(fields)))


def validated(
    model: type[Model],
    fields: Mapping[str, Any],
    *,
    known: Sequence[str],
    what: str,
    prefix: str = "",
) -> Model:
    """Fields as an instance of a model.

    Args:
        model: a pydantic model.
        fields: what was given.
        known: the names that there are, to say what was probably meant.
        what: kind of thing that a field is: parameter, recipe field.
        prefix: what goes before a field where the user types it.

    Raises:
        UserError: if a field is unknown or its value is not one that it may have.
    """
    for key in fields:
        if key not in known:
            raise UserError(unknown(what, key, known))
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        problems = "; ".join(
            f"{prefix}{'.'.join(map(str, each['loc']))}={each['input']!r}: {each['msg']}"
            for each in error.errors()
        )
        raise UserError(problems) from error


def unknown(what: str, key: str, known: Sequence[str]) -> str:
    """Say that there is no such thing, what was probably meant, and what there is.

    Args:
        what: kind of thing: parameter, recipe field.
        key: as typed.
        known: the choices.
    """
    close = difflib.get_close_matches(key, known, n=1)
    hint = f" Did you mean {close[0]}?" if close else ""
    return f"Unknown {what} '{key}'.{hint} Choose from: {', '.join(known)}"
