"""Trials of a grid: a trial is a data set, a percent and a method, with all seeds."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from debias_pipeline.biased_data import get_dataset
from debias_pipeline.parameters import Threads
from debias_pipeline.published import PublishedAccuracy

# The tag of every node of the pipelines `benchmark` and `leaderboard`.
GRID_TAG: Final = "grid"

# Catalog entries that the trials of one setting share, and the entries of each trial.
SETTING_ENTRIES: Final = ("images", "manifest", "data_card", "data_figures")
TRAINED_ENTRIES: Final = ("checkpoint", "history", "sample_weights", "training_record")
TRIAL_ENTRIES: Final = (*TRAINED_ENTRIES, "predictions", "metrics", "group_accuracy", "outcome")


@dataclass(frozen=True)
class Trial:
    """One data set, percent and method, with all seeds.

    Attributes:
        dataset: name of the data set.
        percent: percent as typed, such as 0.5pct.
        method: name of the method.
        seeds: seeds that are trained together.
        precision: fp32 or bf16.
        recipe: recipe of the method with overrides; None if it has none for the data set.
        published_accuracy: accuracies from papers; see `shown_accuracy`.
        data_folder: folder of the data set, shared with ordinary runs, such as cmnist/0.5pct.
        images_folder: folder of the images, shared with settings that differ in labels only.
        threads: `auto`, or the number of threads on the CPU.
        replaced_defaults: recipe fields that overrides have changed, with the values in the files.
        data_options: additional options of the data set.
    """

    dataset: str
    percent: str
    method: str
    seeds: tuple[int, ...]
    precision: str
    recipe: Mapping[str, Any] | None
    published_accuracy: Sequence[PublishedAccuracy]
    data_folder: str
    images_folder: str
    threads: Threads = "auto"
    replaced_defaults: Mapping[str, Any] = field(default_factory=dict)
    data_options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def setting(self) -> str:
        """Return the namespace of the data set and percent, such as cmnist_0_5pct."""
        return setting_name(self.dataset, self.percent)

    @property
    def name(self) -> str:
        """Return the namespace of the trial, such as cmnist_0_5pct.disent."""
        return f"{self.setting}.{self.method}"

    @property
    def digest(self) -> str:
        """Return eight hexadecimal digits of a hash of all settings that affect the results."""
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
        """Return the folder of the trial's results, which depends on its settings."""
        return f"{self.data_folder}/benchmark-{self.digest}"


def setting_name(dataset: str, percent: str) -> str:
    """Return the namespace of a data set and percent, without dots, which separate namespaces."""
    if not get_dataset(dataset).has_percents:
        return dataset
    return f"{dataset}_{percent.replace('.', '_')}"


def percents_of(dataset: str, percents: Sequence[str]) -> Sequence[str]:
    """Return the percents to run for a data set: only the first one if it has no percents."""
    return percents if get_dataset(dataset).has_percents else percents[:1]


def trials_of(parameters: Mapping[str, Any]) -> list[Trial]:
    """Return the trials of the grid in order.

    Args:
        parameters: resolved parameters, see `resolve_grid`; the key `benchmark` may be missing, or
            describe no grid.
    """
    grid = parameters.get("benchmark", {})
    if "datasets" not in grid:
        return []
    seeds = tuple(range(grid["seed"], grid["seed"] + grid["seeds"]))
    trials = []
    for dataset in grid["datasets"]:
        for percent in percents_of(dataset, grid["percents"]):
            setting = parameters[setting_name(dataset, percent)]
            for method in grid["methods"]:
                trials.append(
                    Trial(
                        dataset=dataset,
                        percent=percent,
                        method=method,
                        seeds=seeds,
                        precision=grid["precision"],
                        recipe=setting[method].get("recipe"),
                        published_accuracy=setting[method]["published_accuracy"],
                        data_folder=setting["data_folder"],
                        images_folder=setting["images_folder"],
                        threads=grid["threads"],
                        replaced_defaults=setting[method].get("replaced_defaults", {}),
                        data_options=setting.get("data_options", {}),
                    )
                )
    return trials
