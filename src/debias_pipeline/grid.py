"""The grid of the benchmark: data sets × percents × methods, each a cell with all its seeds."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictInt, field_validator

from debias_pipeline.biased_data import get_dataset
from debias_pipeline.biased_data.percent import parse_percent
from debias_pipeline.errors import UserError
from debias_pipeline.methods import method_names
from debias_pipeline.parameters import Threads, data_folder
from debias_pipeline.published import PublishedAccuracy
from debias_pipeline.recipes import check_overrides, resolve_method
from debias_pipeline.registry import unknown
from debias_pipeline.validation import validated

# What stands for a cell's folders while catalog.yml is read once for all cells.
DATA_FOLDER: Final = "<data folder>"
RESULTS_FOLDER: Final = "<results folder>"

# Catalog entries that cells of one setting share, and those that a cell has of its own.
SETTING_ENTRIES: Final = ("images", "manifest", "data_card", "data_figures", "data_problem")
CELL_ENTRIES: Final = (
    "checkpoint",
    "history",
    "sample_weights",
    "training_record",
    "predictions",
    "metrics",
    "group_accuracy",
    "outcome",
)
# What a trial is given that is not shared by the trials of its setting.
CELL_SNAPSHOTS: Final = "snapshots"
# These say themselves whether something is there.
_NEVER_HOLES: Final = ("data_problem", "outcome")
# What goes before a key of the grid where the user types it.
_PREFIX: Final = "benchmark."
# The key under which a grid sets recipe fields.
OVERRIDES: Final = f"{_PREFIX}overrides"


class GridParameters(BaseModel):
    """The key `benchmark` of the parameters; see conf/base/parameters_benchmark.yml."""

    model_config = ConfigDict(extra="forbid")

    datasets: list[str] = Field(min_length=1)
    percents: list[Any] = Field(min_length=1)
    methods: list[str] = Field(min_length=1)
    seed: StrictInt = Field(default=0, ge=0, lt=2**32)
    seeds: StrictInt = Field(default=1, ge=1)
    precision: Literal["fp32", "bf16"] = "fp32"
    threads: Threads = "auto"
    overrides: dict[str, Any] = Field(default_factory=dict)
    data_options: dict[str, dict[str, Any]] = Field(default_factory=dict)
    mlflow_ui: str = Field(default="http://127.0.0.1:5000", pattern="^https?://")

    @field_validator("datasets", "percents", "methods", mode="before")
    @classmethod
    def _lists_may_be_joined_by_plus(cls, value: object) -> object:
        # Kedro splits --params at commas: benchmark.percents=2pct+5pct.
        items = value.split("+") if isinstance(value, str) else value
        if not isinstance(items, list):
            return [items]
        return [*dict.fromkeys(each.strip() if isinstance(each, str) else each for each in items)]


@dataclass(frozen=True)
class Cell:
    """One data set, percent and method, with all seeds.

    Attributes:
        dataset: its name.
        percent: as typed, such as 0.5pct.
        method: its name.
        seeds: trained together.
        precision: fp32 or bf16.
        recipe: the method's, overrides included; None where it has none for the data set.
        published_accuracy: those of papers, the one for tables first.
        data_folder: where the data set is filed, shared with ordinary runs: cmnist/0.5pct.
    """

    dataset: str
    percent: str
    method: str
    seeds: tuple[int, ...]
    precision: str
    recipe: Mapping[str, Any] | None
    published_accuracy: Sequence[PublishedAccuracy]
    data_folder: str

    @property
    def setting(self) -> str:
        """The namespace of the data set and percent: cmnist_0_5pct."""
        return setting_name(self.dataset, self.percent)

    @property
    def name(self) -> str:
        """The namespace of the cell: cmnist_0_5pct.disent."""
        return f"{self.setting}.{self.method}"

    @property
    def digest(self) -> str:
        """Eight hexadecimal digits that differ wherever another result is to be expected."""
        settings = {
            "data": self.data_folder,
            "recipe": self.recipe,
            "seeds": self.seeds,
            "precision": self.precision,
        }
        text = json.dumps(settings, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:8]

    @property
    def results_folder(self) -> str:
        """Where the cell's results are filed: a cell with other settings has another one."""
        return f"{self.data_folder}/benchmark-{self.digest}"


def setting_name(dataset: str, percent: str) -> str:
    """Return the namespace of a data set and percent; dots would separate namespaces."""
    if not get_dataset(dataset).has_percents:
        return dataset
    return f"{dataset}_{percent.replace('.', '_')}"


def resolve_grid(
    block: Mapping[str, Any], config: Mapping[str, Any], run: Mapping[str, Any]
) -> dict[str, Any]:
    """Check the grid and look up what each of its cells uses.

    Args:
        block: the key `benchmark` of the parameters.
        config: see `recipes.resolve_method`; other keys are ignored.
        run: what `parameters.resolve_parameters` gave: `raw_dir` and `data_seed` hold for the
            grid as well.

    Returns:
        `benchmark`: the fields of GridParameters. Per setting, such as `cmnist_0_5pct`:
        `dataset`, `percent`, `data_options`, `data_folder`, and per method `recipe` (only where
        there is one) and `published_accuracy`.

    Raises:
        UserError: if a value is not what it may be.
    """
    known = [*GridParameters.model_fields]
    grid = validated(GridParameters, block, known=known, what="key of benchmark", prefix=_PREFIX)
    for method in grid.methods:
        if method not in method_names():
            raise UserError(unknown("method", method, method_names()))
    for percent in grid.percents:
        parse_percent(percent)
    common, of_method = _split_overrides(grid.overrides, grid.methods)
    resolved: dict[str, Any] = {"benchmark": grid.model_dump()}
    for dataset in grid.datasets:
        options = _data_options(dataset, grid.data_options.get(dataset, {}))
        for percent in _percents(dataset, grid.percents):
            resolved[setting_name(dataset, percent)] = {
                "dataset": dataset,
                "percent": percent,
                "data_options": options,
                "data_folder": data_folder(dataset, percent, options, run),
                **{
                    method: resolve_method(
                        method,
                        config,
                        dataset,
                        percent,
                        {**common, **of_method.get(method, {})},
                        prefix=f"{OVERRIDES}.",
                    )
                    for method in grid.methods
                },
            }
    _check_data_options(grid)
    _check_folders(resolved)
    return resolved


def cells_of(parameters: Mapping[str, Any]) -> list[Cell]:
    """The cells of the grid, in its order.

    Args:
        parameters: resolved, see `resolve_grid`; without a grid there are no cells.
    """
    if "benchmark" not in parameters:
        return []
    grid = parameters["benchmark"]
    seeds = tuple(range(grid["seed"], grid["seed"] + grid["seeds"]))
    cells = []
    for dataset in grid["datasets"]:
        for percent in _percents(dataset, grid["percents"]):
            setting = parameters[setting_name(dataset, percent)]
            for method in grid["methods"]:
                cells.append(
                    Cell(
                        dataset=dataset,
                        percent=percent,
                        method=method,
                        seeds=seeds,
                        precision=grid["precision"],
                        recipe=setting[method].get("recipe"),
                        published_accuracy=setting[method]["published_accuracy"],
                        data_folder=setting["data_folder"],
                    )
                )
    return cells


def grid_catalog(template: Mapping[str, Any], cells: Iterable[Cell]) -> dict[str, Any]:
    """The catalog entries of every cell, made from those of an ordinary run.

    Args:
        template: the catalog with DATA_FOLDER and RESULTS_FOLDER where folders belong.
        cells: of the grid.

    Returns:
        `<setting>.images` and so on, shared by the cells of a setting, and
        `<setting>.<method>.checkpoint` and so on.
    """
    entries: dict[str, Any] = {}
    for cell in cells:
        words = {
            DATA_FOLDER: cell.data_folder,
            RESULTS_FOLDER: cell.results_folder,
            "{method}": cell.method,
        }
        for name in SETTING_ENTRIES:
            entries[f"{cell.setting}.{name}"] = _of_setting(name, template[name], words, cell)
        store = _filled(template[f"{{method}}.{CELL_SNAPSHOTS}"], words)
        entries[f"{cell.name}.{CELL_SNAPSHOTS}"] = store
        for name in CELL_ENTRIES:
            entry = _filled(template[f"{{method}}.{name}"], words)
            entries[f"{cell.name}.{name}"] = entry if name in _NEVER_HOLES else _or_hole(entry)
    return entries


def _of_setting(
    name: str, entry: Mapping[str, Any], words: Mapping[str, str], cell: Cell
) -> dict[str, Any]:
    filled: dict[str, Any] = _filled(entry, words)
    metadata = filled.get("metadata", {})
    if "mlflow_artifact" in metadata:
        metadata["mlflow_artifact"] = f"{cell.setting}/{metadata['mlflow_artifact']}"
    return filled if name in _NEVER_HOLES else {**_or_hole(filled), "unreadable_is_hole": True}


def _or_hole(entry: Mapping[str, Any]) -> dict[str, Any]:
    """An entry that may stay empty: a cell that fails leaves nothing."""
    outer = {key: entry[key] for key in ("versioned", "metadata") if key in entry}
    inner = {key: value for key, value in entry.items() if key not in outer}
    return {"type": "debias_pipeline.io.HoleableDataset", "dataset": inner, **outer}


def _filled(value: Any, words: Mapping[str, str]) -> Any:
    """A copy in which every text has words put in their places."""
    if isinstance(value, Mapping):
        return {key: _filled(each, words) for key, each in value.items()}
    if isinstance(value, list):
        return [_filled(each, words) for each in value]
    if isinstance(value, str):
        for place, word in words.items():
            value = value.replace(place, word)
    return value


def _split_overrides(
    overrides: Mapping[str, Any], methods: Sequence[str]
) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Recipe fields for all methods, and those under a method's name for it alone."""
    of_method = {key: value for key, value in overrides.items() if key in method_names()}
    common = {key: value for key, value in overrides.items() if key not in of_method}
    check_overrides(common, methods)
    for method, fields in of_method.items():
        if not isinstance(fields, Mapping):
            raise UserError(
                f"{OVERRIDES}.{method}={fields!r} is not recipe fields: write them as in "
                f"{OVERRIDES}.{method}.steps=2000"
            )
        check_overrides(fields, [method])
    return common, of_method


def _data_options(dataset: str, given: Mapping[str, Any]) -> dict[str, Any]:
    options_type = get_dataset(dataset).options_type
    return validated(
        options_type,
        given,
        known=[*options_type.model_fields],
        what=f"option of {dataset}",
        prefix=f"{_PREFIX}data_options.{dataset}.",
    ).model_dump()


def _percents(dataset: str, percents: Sequence[str]) -> Sequence[str]:
    return percents if get_dataset(dataset).has_percents else percents[:1]


def _check_folders(resolved: Mapping[str, Any]) -> None:
    """Check that no two settings share a folder, as each would overwrite the other's data."""
    of_folder: dict[str, str] = {}
    for name, setting in resolved.items():
        if name == "benchmark":
            continue
        other = of_folder.setdefault(setting["data_folder"], name)
        if other != name:
            raise UserError(
                f"{other} and {name} of the grid would share the folder "
                f"{setting['data_folder']}: leave one of them out"
            )


def _check_data_options(grid: GridParameters) -> None:
    for dataset in grid.data_options:
        if dataset not in grid.datasets:
            raise UserError(
                f"benchmark.data_options.{dataset}: the grid has no such data set; "
                f"it has {', '.join(grid.datasets)}"
            )
