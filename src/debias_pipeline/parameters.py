"""Validate the parameters of a run, which `--params` and the parameters files set."""

from collections.abc import Mapping
from functools import cache
from os.path import expanduser
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, ValidationInfo, field_validator

from debias_pipeline.biased_data import dataset_names, get_dataset
from debias_pipeline.biased_data.percent import parse_percent
from debias_pipeline.biased_data.sources.raw_dir import is_utf8
from debias_pipeline.errors import UserError
from debias_pipeline.names import DEFAULT_RANGES, DEFAULTS, SOURCES
from debias_pipeline.registry import unknown
from debias_pipeline.selection_rules import SELECTION_RULES
from debias_pipeline.validation import validated

_OF_RECIPES: Final = (DEFAULTS, DEFAULT_RANGES, SOURCES)

# Values of conf/base/parameters.yml; a command that reproduces a run need not name them.
RUN_DEFAULTS: Final = {
    "raw_dir": "data/01_raw",
    "data_seed": 0,
    "device": "auto",
    "precision": "fp32",
    "threads": "auto",
}

# Parameters that name a folder or a file.
PATHS: Final = ("raw_dir", "pretrained", "model", "images", "bias_labels")


def _threads(value: object) -> object:
    # None was the default before auto was added.
    if value is None or value == "auto":
        return "auto"
    if type(value) is int and value >= 1:
        return value
    raise ValueError("use auto, or a number of 1 or more")


Threads: TypeAlias = Annotated[int | Literal["auto"], PlainValidator(_threads)]


class RunParameters(BaseModel):
    """The parameters of a run; see conf/base/parameters.yml."""

    model_config = ConfigDict(extra="forbid", strict=True)

    dataset: str
    percent: Any
    data_seed: int = Field(ge=0)
    raw_dir: str
    # Generators take no more, and tables contain seeds as int64.
    seed: int = Field(ge=0, lt=2**32)
    seeds: int = Field(ge=1)
    device: Literal["auto", "cpu", "cuda", "mps"]
    precision: Literal["fp32", "bf16"]
    threads: Threads = "auto"
    resume: bool
    recipe: dict[str, Any]
    pretrained: str
    budget: str = "10min"
    model: str = ""
    images: str = ""
    bias_labels: str = ""
    rule: str = "last"
    model_seed: int | None = None

    @field_validator("rule")
    @classmethod
    def _rule_is_known(cls, value: str) -> str:
        if value not in SELECTION_RULES:
            raise ValueError(f"choose from {', '.join(SELECTION_RULES)}")
        return value

    @field_validator(*PATHS, mode="before")
    @classmethod
    def _is_a_name(cls, value: object, info: ValidationInfo) -> str:
        if type(value) is int:
            value = str(value)
        if not isinstance(value, str):
            raise ValueError(f"is not text; quote it: {info.field_name}: '{value}'")
        if not is_utf8(value):
            raise ValueError("is not UTF-8; rename the folder or file")
        if not value.strip() and info.field_name == "raw_dir":
            raise ValueError("is empty; name a folder, or leave it out")
        return value


@cache
def text_parameters() -> frozenset[str]:
    """Return the parameters and options of data sets whose value is any text."""
    models: list[type[BaseModel]] = [
        RunParameters,
        *(get_dataset(name).options_type for name in dataset_names()),
    ]
    return frozenset(
        name
        for model in models
        for name, field in model.model_fields.items()
        if field.annotation is str
    )


def resolve_parameters(config: Mapping[str, Any], env: str | None = None) -> dict[str, Any]:
    """Validate the parameters of a run and look up its recipes.

    Args:
        config: what the parameters files and `--params` set: the fields of RunParameters and of
            the data set's options, `recipe_defaults`, `default_ranges`, `published_sources`, and a
            block per method.
        env: Kedro environment of the run; None for the default one.

    Returns:
        The fields of RunParameters with `~` expanded in PATHS, `data_options`, `typed` (see
        `typed_parameters`), and
        `recipe`, `replaced_defaults`, `published_accuracy` per method (see
        `recipes.resolve_method`); the first two only if the method has a recipe for the data set.

    Raises:
        UserError: if a parameter is unknown or its value is invalid.
    """
    run, options = _run_parameters(config)
    # Imports PyTorch, so that parameters of the run are checked before.
    from debias_pipeline.methods import method_names
    from debias_pipeline.recipes import check_files, check_overrides, resolve_method

    check_files(config)
    methods = method_names()
    for key in config:
        if key not in (*RunParameters.model_fields, *options, *_OF_RECIPES, *methods):
            raise UserError(unknown("parameter", key, [*RunParameters.model_fields, *options]))
    resolved: dict[str, Any] = {**run.model_dump(), "data_options": options}
    resolved["typed"] = typed_parameters(resolved, env)
    # A Path would change the slashes of a URI.
    resolved |= {key: expanduser(resolved[key]) for key in PATHS}  # noqa: PTH111
    for name in methods:
        resolved[name] = resolve_method(
            name, config, run.dataset, run.percent, run.recipe, data_options=options
        )
    check_overrides(run.recipe, methods)
    return resolved


def _run_parameters(config: Mapping[str, Any]) -> tuple[RunParameters, dict[str, Any]]:
    """Validate everything except recipes: the parameters of the run and of its data set.

    Returns:
        The parameters of the run, and the options of the data set.
    """
    options_type = get_dataset(config["dataset"]).options_type
    # Mappings are the files of recipes, which `check_files` checks.
    known = [*RunParameters.model_fields, *options_type.model_fields]
    chosen = {
        key: value
        for key, value in config.items()
        if key in known or (isinstance(value, str | int | float) and key not in _OF_RECIPES)
    }
    options = {key: chosen.pop(key) for key in options_type.model_fields if key in chosen}
    run = validated(RunParameters, chosen, what="parameter", known=known)
    parse_percent(run.percent)
    return run, validated(options_type, options, what="parameter").model_dump()


def typed_parameters(run: Mapping[str, Any], env: str | None) -> dict[str, Any]:
    """Return what a command must contain to reproduce a run of these parameters.

    Args:
        run: the fields of RunParameters, and `data_options`.

    Returns:
        Data set, percent (if it changes the data), and whatever is not at its default; `recipe`
        contains the overridden fields, and `env` is there if it is not the default. The seeds,
        which the training record has, are left out.
    """
    options = get_dataset(run["dataset"]).options_type.model_fields
    return {
        "dataset": run["dataset"],
        **({"percent": run["percent"]} if get_dataset(run["dataset"]).has_percents else {}),
        **{key: run[key] for key, default in RUN_DEFAULTS.items() if run[key] != default},
        **{
            key: value
            for key, value in run["data_options"].items()
            if value != options[key].default
        },
        **{key: run[key] for key in ("pretrained", "bias_labels") if run[key]},
        **({"env": env} if env else {}),
        "recipe": run["recipe"],
    }


def data_folders(
    dataset: str, percent: str, options: Mapping[str, Any], run: Mapping[str, Any]
) -> tuple[str, str]:
    """Return the folders of a data set and of its images, such as cmnist/0.5pct.

    See `BiasedDataset.folder` and `BiasedDataset.images_folder`.

    Args:
        percent: such as 2pct.
        options: options of the data set.
        run: `raw_dir` and `data_seed`.
    """
    biased = get_dataset(dataset)
    chosen = biased.options_type.model_validate(options)
    place = percent, Path(run["raw_dir"]), run["data_seed"], chosen
    return biased.folder(*place), biased.images_folder(*place)
