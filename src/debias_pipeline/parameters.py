"""What `--params` may say: checked as a whole, before anything runs."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    StrictBool,
    StrictInt,
    StrictStr,
    ValidationError,
    field_validator,
)

from debias_pipeline.biased_data import dataset_names, get_dataset
from debias_pipeline.biased_data.percent import parse_percent
from debias_pipeline.errors import UserError
from debias_pipeline.methods import Recipe, get_method, method_names
from debias_pipeline.published import PublishedAccuracy, Source
from debias_pipeline.registry import unknown
from debias_pipeline.selection_rules import SELECTION_RULES

Model = TypeVar("Model", bound=BaseModel)

RECIPES_FOLDER = "conf/base/parameters_recipes"
DEFAULTS_FILE = f"{RECIPES_FOLDER}/defaults.yml"
# The key of that file.
DEFAULTS = "recipe_defaults"
SOURCES_FILE = f"{RECIPES_FOLDER}/sources.yml"
SOURCES = "published_sources"
# The keys of a method's file, under the method's name.
BLOCK = ("recipes", "published")
# Stands for a data set in `recipes`: fields for every data set.
ALL = "all"


# Values of conf/base/parameters.yml that a command need not name.
RUN_DEFAULTS = {
    "raw_dir": "data/01_raw",
    "data_seed": 0,
    "device": "auto",
    "precision": "fp32",
    "threads": "auto",
}


def _threads(value: object) -> object:
    if value is None or value == "auto":
        return "auto"
    if type(value) is int and value >= 1:
        return value
    raise ValueError("use auto, or a number of 1 or more")


# None was the default before there was auto.
Threads: TypeAlias = Annotated[int | Literal["auto"], PlainValidator(_threads)]


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
    threads: Threads = "auto"
    resume: StrictBool
    recipe: dict[str, Any]
    pretrained: StrictStr
    model: StrictStr = ""
    images: StrictStr = ""
    rule: str = "last"
    model_seed: StrictInt | None = None

    @field_validator("rule")
    @classmethod
    def _rule_is_known(cls, value: str) -> str:
        if value not in SELECTION_RULES:
            raise ValueError(f"choose from {', '.join(SELECTION_RULES)}")
        return value

    @field_validator("raw_dir", "pretrained", "model", "images", mode="before")
    @classmethod
    def _folders_may_look_like_numbers(cls, value: object) -> object:
        # Kedro reads --params raw_dir=2024 as a number.
        return str(value) if type(value) in (int, float) else value


def resolve_parameters(config: Mapping[str, Any]) -> dict[str, Any]:
    """Check the parameters of a run and look its recipes up.

    Args:
        config: what the parameters files and `--params` say: the fields of RunParameters, those
            of the data set's options, `recipe_defaults`, `published_sources`, and a block per
            method.

    Returns:
        The fields of RunParameters, `data_options`, `typed` (see `typed_parameters`), and
        `recipe`, `published_accuracy` per method; `recipe` only where there is one for the data
        set.

    Raises:
        UserError: if a parameter is not what it may be.
    """
    blocks = {name: config.get(name, {}) for name in method_names()}
    of_recipes = (DEFAULTS, SOURCES, *blocks)
    chosen = {key: value for key, value in config.items() if key not in of_recipes}
    _check_blocks(config.get(DEFAULTS, {}), blocks, chosen)
    _check_published(config.get(SOURCES, {}), blocks)
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
    for name in blocks:
        resolved[name] = resolve_method(name, config, run.dataset, run.percent, run.recipe)
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
        **{key: run[key] for key, default in RUN_DEFAULTS.items() if run[key] != default},
        **{
            key: value
            for key, value in run["data_options"].items()
            if value != options[key].default
        },
        **({"pretrained": run["pretrained"]} if run["pretrained"] else {}),
        "recipe": run["recipe"],
    }


def resolve_method(
    method: str,
    config: Mapping[str, Any],
    dataset: str,
    percent: str,
    overrides: Mapping[str, Any],
    *,
    prefix: str = "recipe.",
) -> dict[str, Any]:
    """Look up what a method uses on a data set and percent.

    A recipe is put together from the defaults of the data set, the method's fields for all data
    sets and for this one, and the overrides; the later wins.

    Args:
        method: name of the method.
        config: `recipe_defaults`, `published_sources` and a block per method; see
            conf/base/parameters_recipes.
        dataset: name of the data set.
        percent: such as 2pct.
        overrides: fields changed by the user; those that the method lacks are left out.
        prefix: what goes before a field where the user types it.

    Returns:
        `published_accuracy` (a list of `PublishedAccuracy`, the one for tables first), and
        `recipe` (every field as a plain value) unless the method's file has nothing for the data
        set and required fields are missing.

    Raises:
        UserError: if a field is unknown or missing, or its value is not one that it may have.
    """
    block = config.get(method, {})
    published = _published(block, config.get(SOURCES, {}), dataset, percent)
    tables = block.get("recipes", {})
    recipe_type = get_method(method).recipe_type
    fields = {"method": method}
    for table in (config.get(DEFAULTS, {}).get(dataset), tables.get(ALL), tables.get(dataset)):
        for key, value in (table or {}).items():
            if key != "at":
                fields[key] = value
        fields.update((table or {}).get("at", {}).get(percent, {}))
    known = [*recipe_type.model_fields]
    for key in fields:
        if key not in known:
            text = unknown(f"field of {method}'s recipe", key, sorted({*known} - {"method"}))
            raise UserError(f"{text} ({recipe_file(method)})")
    fields |= {key: value for key, value in overrides.items() if key in known}
    missing = [
        name
        for name, each in recipe_type.model_fields.items()
        if each.is_required() and name not in fields
    ]
    if missing and dataset not in tables:
        return {"published_accuracy": published}
    if missing:
        raise UserError(
            f"The recipe of {method} lacks {', '.join(missing)}: add to recipes.{dataset} in "
            f"{recipe_file(method)}, or for this run {prefix}{missing[0]}=…"
        )
    recipe = validated(recipe_type, fields, known=known, what="recipe field", prefix=prefix)
    return {"published_accuracy": published, "recipe": recipe.model_dump()}


def recipe_file(method: str) -> str:
    """Return the file that holds a method's recipes, relative to the project."""
    return f"{RECIPES_FOLDER}/{method}.yml"


def no_recipe(method: str, dataset: str) -> str:
    """Return what to tell if a method has no recipe for a data set."""
    return (
        f"There is no recipe for {method} on {dataset}: add recipes.{dataset} to "
        f"{recipe_file(method)}"
    )


def _check_blocks(defaults: Any, blocks: Mapping[str, Any], others: Mapping[str, Any]) -> None:
    """Refuse what would be overlooked in the files of recipes."""
    for key, value in others.items():
        if isinstance(value, Mapping) and set(BLOCK) & set(value):
            raise UserError(f"{unknown('method', key, method_names())} ({recipe_file(key)})")
    _check_tables(DEFAULTS, defaults, dataset_names(), DEFAULTS_FILE)
    for dataset, table in defaults.items():
        fields = [key for key in Recipe.model_fields if key != "method"]
        for key in table:
            if key not in (*fields, "at"):
                text = unknown(f"field of {DEFAULTS}.{dataset}", key, fields)
                raise UserError(f"{text} ({DEFAULTS_FILE})")
    for method, block in blocks.items():
        file = recipe_file(method)
        _check_mapping(method, block, file)
        for key in block:
            if key not in BLOCK:
                raise UserError(f"{unknown(f'key of {method}', key, BLOCK)} ({file})")
        tables = block.get("recipes", {})
        _check_tables(f"{method}.recipes", tables, (*dataset_names(), ALL), file)


def _check_tables(place: str, tables: Any, known: Sequence[str], file: str) -> None:
    """Check that a value is a mapping: data set → mapping."""
    _check_mapping(place, tables, file)
    for dataset, table in tables.items():
        if dataset not in known:
            raise UserError(f"{unknown(f'data set of {place}', dataset, known)} ({file})")
        _check_mapping(f"{place}.{dataset}", table, file)
        _check_mapping(f"{place}.{dataset}.at", table.get("at", {}), file)
        for percent, fields in table.get("at", {}).items():
            _check_mapping(f"{place}.{dataset}.at.{percent}", fields, file)


def _check_published(sources: Any, blocks: Mapping[str, Any]) -> None:
    """Refuse published accuracies that would be overlooked, or without a source."""
    _check_mapping(SOURCES, sources, SOURCES_FILE)
    for name, fields in sources.items():
        place = f"{SOURCES}.{name}"
        _check_mapping(place, fields, SOURCES_FILE)
        known = [*Source.model_fields]
        validated(Source, fields, known=known, what=f"key of {place}", prefix=f"{place}.")
    for method, block in blocks.items():
        file, place = recipe_file(method), f"{method}.published"
        entries = block.get("published", [])
        if not isinstance(entries, list):
            raise UserError(f"{place}={entries!r} is not a list of sources ({file})")
        for entry in entries:
            _check_mapping(place, entry, file)
            if entry.get("source") not in sources:
                text = unknown(f"source of {place}", str(entry.get("source")), [*sources])
                raise UserError(f"{text} ({file}, {SOURCES_FILE})")
            tables = {key: each for key, each in entry.items() if key not in ("source", "note")}
            _check_tables(place, tables, dataset_names(), file)
            for dataset, table in tables.items():
                for percent, value in table.items():
                    if not isinstance(value, float | int) or not 0 <= value <= 1:
                        raise UserError(
                            f"{place}.{dataset}.{percent}={value!r} is not a fraction from 0 to 1 "
                            f"({file})"
                        )


def _published(
    block: Mapping[str, Any], sources: Mapping[str, Any], dataset: str, percent: str
) -> list[PublishedAccuracy]:
    found = []
    for entry in block.get("published", []):
        accuracy = entry.get(dataset, {}).get(percent)
        if accuracy is None:
            continue
        source = Source.model_validate(sources[entry["source"]])
        found.append(
            PublishedAccuracy(
                accuracy=accuracy,
                source=source.name,
                selection=source.selection,
                seeds=source.seeds,
                note=entry.get("note", source.note),
            )
        )
    return found


def _check_mapping(place: str, value: object, file: str) -> None:
    if not isinstance(value, Mapping):
        raise UserError(f"{place}={value!r} holds no keys with values ({file})")


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


def check_decays(overrides: Mapping[str, Any], recipes: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse decays of a learning rate that none of the methods lets decay.

    Args:
        overrides: see `resolve_method`.
        recipes: method → its resolved recipe.
    """
    for key in ("decay_every", "gamma"):
        if key in overrides and all(recipe[key] is None for recipe in recipes.values()):
            raise UserError(
                f"recipe.{key}={overrides[key]} has no effect, as the learning rate of "
                f"{' and '.join(recipes)} is constant; set recipe.schedule=step as well"
            )


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
            f"{prefix}{'.'.join(map(str, each['loc']))}={each['input']!r}: "
            f"{each['msg'].removeprefix('Value error, ')}"
            for each in error.errors()
        )
        raise UserError(problems) from error
