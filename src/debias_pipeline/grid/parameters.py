"""Validate the parameters of a grid: data sets × percents × methods."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictInt

from debias_pipeline.biased_data import get_dataset
from debias_pipeline.biased_data.percent import parse_percent
from debias_pipeline.errors import UserError
from debias_pipeline.grid.trials import percents_of, setting_name
from debias_pipeline.methods import get_method, method_names
from debias_pipeline.parameters import Threads, data_folders
from debias_pipeline.recipes import check_overrides, resolve_method
from debias_pipeline.validation import TypedList, validated

# The prefix of the grid's keys in --params.
_PREFIX: Final = "benchmark."
# The key under which a grid sets recipe fields.
OVERRIDES: Final = f"{_PREFIX}overrides"


class GridParameters(BaseModel):
    """The key `benchmark` of the parameters; see conf/base/parameters_benchmark.yml."""

    model_config = ConfigDict(extra="forbid")

    datasets: TypedList[str]
    percents: TypedList[Any]
    methods: TypedList[str]
    seed: StrictInt = Field(default=0, ge=0, lt=2**32)
    seeds: StrictInt = Field(default=1, ge=1)
    precision: Literal["fp32", "bf16"] = "fp32"
    threads: Threads = "auto"
    overrides: dict[str, Any] = Field(default_factory=dict)
    data_options: dict[str, dict[str, Any]] = Field(default_factory=dict)
    mlflow_ui: str = Field(default="", pattern="^(https?://|$)")


def resolve_grid(
    block: Mapping[str, Any], config: Mapping[str, Any], run: Mapping[str, Any]
) -> dict[str, Any]:
    """Validate the grid and look up the recipe and published accuracies of every trial.

    Args:
        block: the key `benchmark` of the parameters.
        config: see `recipes.resolve_method`; other keys are ignored.
        run: from `parameters.resolve_parameters`; the grid uses its `raw_dir` and `data_seed`.

    Returns:
        `benchmark`: the fields of GridParameters. Per setting, such as `cmnist_0_5pct`:
        `dataset`, `percent`, `data_options`, `data_folder`, `images_folder`, and per method
        `recipe` (if the method has one for the data set) and `published_accuracy`.

    Raises:
        UserError: if a value is invalid.
    """
    grid = validated(GridParameters, block, what="key of benchmark", prefix=_PREFIX)
    for method in grid.methods:
        get_method(method)
    for percent in grid.percents:
        parse_percent(percent)
    common, of_method = _split_overrides(grid.overrides, grid.methods)
    resolved: dict[str, Any] = {"benchmark": grid.model_dump()}
    for dataset in grid.datasets:
        options = _data_options(dataset, grid.data_options.get(dataset, {}))
        for percent in percents_of(dataset, grid.percents):
            folder, images_folder = data_folders(dataset, percent, options, run)
            resolved[setting_name(dataset, percent)] = {
                "dataset": dataset,
                "percent": percent,
                "data_options": options,
                "data_folder": folder,
                "images_folder": images_folder,
                **{
                    method: resolve_method(
                        method,
                        config,
                        dataset,
                        percent,
                        {**common, **of_method.get(method, {})},
                        data_options=options,
                        prefix=f"{OVERRIDES}.",
                    )
                    for method in grid.methods
                },
            }
    _check_data_options(grid)
    _check_folders(resolved)
    return resolved


def _split_overrides(
    overrides: Mapping[str, Any], methods: Sequence[str]
) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Return the recipe fields for all methods, and those per method."""
    of_method = {key: value for key, value in overrides.items() if key in method_names()}
    common = {key: value for key, value in overrides.items() if key not in of_method}
    check_overrides(common, methods)
    for method, fields in of_method.items():
        if not isinstance(fields, Mapping):
            raise UserError(
                f"{OVERRIDES}.{method}={fields!r} must be a mapping of recipe fields; use e.g. "
                f"{OVERRIDES}.{method}.steps=2000"
            )
        check_overrides(fields, [method])
    return common, of_method


def _data_options(dataset: str, given: Mapping[str, Any]) -> dict[str, Any]:
    return validated(
        get_dataset(dataset).options_type,
        given,
        what=f"option of {dataset}",
        prefix=f"{_PREFIX}data_options.{dataset}.",
    ).model_dump()


def _check_folders(resolved: Mapping[str, Any]) -> None:
    """Check that no two settings share a folder, as they would overwrite each other's data."""
    of_folder: dict[str, str] = {}
    for name, setting in resolved.items():
        if name == "benchmark":
            continue
        other = of_folder.setdefault(setting["data_folder"], name)
        if other != name:
            raise UserError(
                f"{other} and {name} of the grid would use the same folder, "
                f"{setting['data_folder']}; remove one of them from the grid"
            )


def _check_data_options(grid: GridParameters) -> None:
    for dataset in grid.data_options:
        if dataset not in grid.datasets:
            raise UserError(
                f"benchmark.data_options.{dataset} is set, but {dataset} is not in the grid; "
                f"the grid has {', '.join(grid.datasets)}"
            )
