"""Look up recipes and published accuracies in the files of conf/base/parameters_recipes."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from debias_pipeline.biased_data import dataset_names, get_dataset
from debias_pipeline.errors import UserError
from debias_pipeline.methods import Recipe, get_method, method_names
from debias_pipeline.names import DEFAULT_RANGES, DEFAULTS, SOURCES
from debias_pipeline.published import PublishedAccuracy, Source
from debias_pipeline.ranges import Range
from debias_pipeline.registry import unknown
from debias_pipeline.validation import validated

FOLDER: Final = "conf/base/parameters_recipes"
# Each has a key of its own, see `names`; other files have the name of a method as key.
DEFAULTS_FILE: Final = f"{FOLDER}/defaults.yml"
SOURCES_FILE: Final = f"{FOLDER}/sources.yml"
# In `recipes` and `ranges` of a method: fields for every data set.
ALL: Final = "all"
_AVERAGE: Final = "average_accuracy"


class _Table(BaseModel):
    """Recipe fields for a data set; `at` contains fields for one percent."""

    model_config = ConfigDict(strict=True, extra="allow")

    at: dict[str, dict[str, Any]] = {}


class _PublishedTable(BaseModel):
    """Accuracies of a method from one source: data set → percent → accuracy.

    Of a data set without percents: data set → metric → accuracy.
    """

    model_config = ConfigDict(strict=True, extra="allow")

    source: str
    note: str = ""
    __pydantic_extra__: dict[str, dict[str, Annotated[float, Field(ge=0, le=1)]]] = Field(
        init=False
    )


class _MethodFile(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    recipes: dict[str, _Table] = {}
    published: list[_PublishedTable] = []
    ranges: dict[str, dict[str, Range]] = {}


class _DefaultsFile(BaseModel):
    model_config = ConfigDict(strict=True)

    recipe_defaults: dict[str, _Table] = {}
    default_ranges: dict[str, dict[str, Range]] = {}


class _SourcesFile(BaseModel):
    model_config = ConfigDict(strict=True)

    published_sources: dict[str, dict[str, Any]] = {}


def check_files(config: Mapping[str, Any]) -> None:
    """Check everything in the files that a run would otherwise overlook.

    Args:
        config: all parameters, as Kedro reads them.

    Raises:
        UserError: if a name is unknown, a value is invalid, or a source is missing.
    """
    for key, value in config.items():
        is_method_file = isinstance(value, Mapping) and set(_MethodFile.model_fields) & set(value)
        if is_method_file and key not in method_names():
            raise UserError(f"{unknown('method', key, method_names())} ({method_file(key)})")
    _check_defaults({key: config.get(key, {}) for key in (DEFAULTS, DEFAULT_RANGES)})
    sources = _check_sources({SOURCES: config.get(SOURCES, {})})
    for method in method_names():
        _check_method(method, config.get(method, {}), sources)


def _check_sources(content: Mapping[str, Any]) -> list[str]:
    sources = validated(_SourcesFile, content, what="key", file=SOURCES_FILE).published_sources
    for name, fields in sources.items():
        place = f"{SOURCES}.{name}"
        validated(Source, fields, what=f"key of {place}", prefix=f"{place}.", file=SOURCES_FILE)
    return [*sources]


def _check_defaults(content: Mapping[str, Any]) -> None:
    file = validated(_DefaultsFile, content, what="key", file=DEFAULTS_FILE)
    fields = [name for name in Recipe.model_fields if name != "method"]
    for dataset, table in file.recipe_defaults.items():
        _check_name(f"data set of {DEFAULTS}", dataset, dataset_names(), DEFAULTS_FILE)
        for key in table.model_extra or {}:
            _check_name(f"field of {DEFAULTS}.{dataset}", key, fields, DEFAULTS_FILE)
    _check_ranges(DEFAULT_RANGES, file.default_ranges, fields, DEFAULTS_FILE)


def _check_method(method: str, block: Any, sources: Sequence[str]) -> None:
    path = method_file(method)
    file = validated(_MethodFile, block, what=f"key of {method}", prefix=f"{method}.", file=path)
    for dataset in file.recipes:
        _check_name(f"data set of {method}.recipes", dataset, [*dataset_names(), ALL], path)
    fields = [name for name in get_method(method).recipe_type.model_fields if name != "method"]
    _check_ranges(f"{method}.ranges", file.ranges, fields, path)
    for table in file.published:
        place = f"{method}.published"
        _check_name(f"source of {place}", table.source, sources, f"{path}, {SOURCES_FILE}")
        for dataset, accuracies in (table.model_extra or {}).items():
            _check_name(f"data set of {place}", dataset, dataset_names(), path)
            for metric in () if get_dataset(dataset).has_percents else accuracies:
                known = [get_dataset(dataset).headline, _AVERAGE]
                _check_name(f"metric of {place}.{dataset}", metric, known, path)


def _check_ranges(
    place: str, tables: Mapping[str, Iterable[str]], fields: Sequence[str], file: str
) -> None:
    for dataset, table in tables.items():
        _check_name(f"data set of {place}", dataset, [*dataset_names(), ALL], file)
        for key in table:
            _check_name(f"field of {place}.{dataset}", key, fields, file)


def _check_name(kind: str, name: str, known: Sequence[str], file: str) -> None:
    if name not in known:
        raise UserError(f"{unknown(kind, name, known)} ({file})")


def resolve_method(
    method: str,
    config: Mapping[str, Any],
    dataset: str,
    percent: str,
    overrides: Mapping[str, Any],
    *,
    data_options: Mapping[str, Any],
    prefix: str = "recipe.",
) -> dict[str, Any]:
    """Look up the recipe and the published accuracies of a method on a data set and percent.

    A recipe is merged from the defaults of the data set, the method's fields for all data sets and
    for this one, and the overrides; later ones win.

    Args:
        config: `recipe_defaults`, `published_sources` and a block per method; see `check_files`.
        percent: such as 2pct.
        overrides: fields changed by the user; those that the method does not have are ignored.
        data_options: additional options of the data set; those left out have their defaults. If
            they make other data than that of papers (see `DataOptions.published_options`), there
            are no published accuracies.
        prefix: prefix of the overrides where the user writes them.

    Returns:
        `published_accuracy` (a list of `PublishedAccuracy`, the one for tables first), and, unless
        the method's file has nothing for the data set and required fields are missing, `recipe`
        (every field as a plain value) and `replaced_defaults` (the fields that the overrides have
        changed, with the values in the files; None if the files have none).

    Raises:
        UserError: if a field is unknown or missing, or its value is invalid.
    """
    block = config.get(method, {})
    options = get_dataset(dataset).options_type
    is_default = all(
        data_options.get(name, field.default) == field.default
        for name, field in options.model_fields.items()
        if name not in options.published_options
    )
    published = _published(block, config.get(SOURCES, {}), dataset, percent) if is_default else []
    tables = block.get("recipes", {})
    recipe_type = get_method(method).recipe_type
    fields = {"method": method}
    for table in (config.get(DEFAULTS, {}).get(dataset), tables.get(ALL), tables.get(dataset)):
        fields |= {key: value for key, value in (table or {}).items() if key != "at"}
        fields |= (table or {}).get("at", {}).get(percent, {})
    known = [*recipe_type.model_fields]
    for key in fields:
        if key not in known:
            suggested = sorted({*known} - {"method"})
            _check_name(f"field of {method}'s recipe", key, suggested, method_file(method))
    of_files = fields
    fields = fields | {key: value for key, value in overrides.items() if key in known}
    missing = [
        name
        for name, each in recipe_type.model_fields.items()
        if each.is_required() and name not in fields
    ]
    if missing and dataset not in tables:
        return {"published_accuracy": published}
    if missing:
        raise UserError(
            f"The recipe of {method} lacks {', '.join(missing)}; add to recipes.{dataset} in "
            f"{method_file(method)}, or for this run {prefix}{missing[0]}=…"
        )
    recipe = validated(recipe_type, fields, what="recipe field", prefix=prefix).model_dump()
    return {
        "published_accuracy": published,
        "recipe": recipe,
        "replaced_defaults": _replaced_defaults(recipe_type, of_files, fields, recipe),
    }


def ranges_of(method: str, config: Mapping[str, Any], dataset: str) -> dict[str, Any]:
    """Look up the ranges of a method's recipe fields on a data set, as in the files.

    Those of `default_ranges` come first, then those of the method; of both, those for all data
    sets and then for this one. Later ones win.

    Args:
        method: name of the method.
        config: see `resolve_method`; checked by `check_files`.
        dataset: name of the data set.

    Returns:
        Fields of `Range` by recipe field.
    """
    tables = (config.get(DEFAULT_RANGES, {}), config.get(method, {}).get("ranges", {}))
    return {
        field: fields
        for table in tables
        for key in (ALL, dataset)
        for field, fields in table.get(key, {}).items()
    }


def _replaced_defaults(
    recipe_type: type[Recipe],
    of_files: Mapping[str, Any],
    fields: Mapping[str, Any],
    recipe: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the fields of a recipe that overrides have changed, with the values in the files."""
    if fields == of_files:
        return {}
    try:
        default = recipe_type.model_validate(of_files).model_dump()
    except ValidationError:
        # The files alone are not a complete recipe.
        default = {**recipe, **dict.fromkeys(fields), **of_files}
    return {key: default[key] for key in recipe if recipe[key] != default[key]}


def _published(
    block: Mapping[str, Any], sources: Mapping[str, Any], dataset: str, percent: str
) -> list[PublishedAccuracy]:
    found = []
    headline, has_percents = get_dataset(dataset).headline, get_dataset(dataset).has_percents
    for table in block.get("published", []):
        accuracies = table.get(dataset, {})
        accuracy = accuracies.get(percent if has_percents else headline)
        if accuracy is None:
            continue
        source = Source.model_validate(sources[table["source"]])
        found.append(
            PublishedAccuracy(
                accuracy=accuracy,
                metric=headline,
                average_accuracy=accuracies.get(_AVERAGE),
                source=source.name,
                selection=source.selection,
                seeds=source.seeds,
                note=table.get("note", source.note),
            )
        )
    return found


def method_file(method: str) -> str:
    """Return the file of a method's recipes, relative to the project."""
    return f"{FOLDER}/{method}.yml"


def no_recipe(method: str, dataset: str) -> str:
    """Return the error message for a method that has no recipe for a data set."""
    return (
        f"There is no recipe for {method} on {dataset}; add recipes.{dataset} to "
        f"{method_file(method)}"
    )


def check_overrides(overrides: Mapping[str, Any], methods: Iterable[str]) -> None:
    """Check that at least one of the methods has each overridden recipe field.

    Raises:
        UserError: if none has, with the fields that exist.
    """
    fields = {field for name in methods for field in get_method(name).recipe_type.model_fields} - {
        "method"
    }
    for key in overrides:
        if key not in fields:
            raise UserError(unknown("recipe field", key, sorted(fields)))


def check_decays(overrides: Mapping[str, Any], recipes: Mapping[str, Mapping[str, Any]]) -> None:
    """Check that overridden decays of the learning rate have an effect on a method.

    Args:
        recipes: method → its resolved recipe.

    Raises:
        UserError: if the learning rate of all methods is constant.
    """
    for key in ("decay_every", "gamma"):
        if key in overrides and all(recipe[key] is None for recipe in recipes.values()):
            raise UserError(
                f"recipe.{key}={overrides[key]} has no effect, as the learning rate of "
                f"{' and '.join(recipes)} is constant; set recipe.schedule=step as well"
            )
