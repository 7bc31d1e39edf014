"""What is asked before a grid runs, and how it went afterwards."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline

from debias_pipeline.errors import UserError
from debias_pipeline.grid.parameters import OVERRIDES
from debias_pipeline.grid.pipeline import TRIAL_DATA
from debias_pipeline.grid.trials import Trial
from debias_pipeline.names import DONE
from debias_pipeline.recipes import no_recipe

Catalog = CatalogProtocol[Any, Any]

GRID_PIPELINES: Final = ("benchmark", "leaderboard")
# What --params may say of a grid, and what stands for the parameters of an ordinary run.
_OF_GRID: Final = ("benchmark", "raw_dir", "data_seed", "device", "resume")
_IN_PLACE_OF: Final = {
    "dataset": "benchmark.datasets",
    "percent": "benchmark.percents",
    "seed": "benchmark.seed",
    "seeds": "benchmark.seeds",
    "precision": "benchmark.precision",
    "recipe": OVERRIDES,
}


def chosen_trials(trials: Iterable[Trial], pipeline: Pipeline) -> list[Trial]:
    """Return the trials that a pipeline runs, as `--tags` and the like may leave some out."""
    outputs = pipeline.all_outputs()
    return [trial for trial in trials if f"{trial.name}.outcome" in outputs]


def check_typed(typed: Iterable[str]) -> None:
    """Refuse parameters of ordinary runs that would change nothing here.

    Args:
        typed: the first parts of the keys of `--params`.

    Raises:
        UserError: naming what stands for such a parameter in a grid.
    """
    for key in typed:
        if key in _OF_GRID:
            continue
        instead = _IN_PLACE_OF.get(key)
        hint = f"--params {instead}=…" if instead else "see conf/base/parameters_benchmark.yml"
        raise UserError(f"Parameter '{key}' has no part in the grid: {hint}")


def check_trials(trials: Sequence[Trial], pipeline: Pipeline, catalog: Catalog) -> None:
    """Refuse a grid with trials that cannot run.

    Args:
        trials: that the pipeline runs.
        pipeline: to be run.
        catalog: of the run.

    Raises:
        UserError: if a method has no recipe for a data set, or data is missing that the pipeline
            does not make.
    """
    for trial in trials:
        if trial.recipe is None:
            raise UserError(
                f"{no_recipe(trial.method, trial.dataset)}, or leave one of them out of the grid"
            )
    given = pipeline.inputs()
    missing = {
        trial.setting: None
        for trial in trials
        for name in TRIAL_DATA
        if (data := f"{trial.setting}.{name}") in given and not catalog.exists(data)
    }
    if missing:
        nodes = ",".join(f"{setting}.build_data" for setting in missing)
        raise UserError(
            f"The data of {', '.join(missing)} is not there yet and is left out of this run: "
            f"first kedro run --pipeline=benchmark --nodes={nodes}"
        )


def check_outcomes(trials: Sequence[Trial], outcomes: Mapping[str, Any]) -> None:
    """Let a run with failed trials end as failed.

    Args:
        trials: that were run.
        outcomes: of each, by its name.

    Raises:
        UserError: naming the trials that failed.
    """
    failed = [trial.name for trial in trials if (outcomes[trial.name] or {}).get("status") != DONE]
    if failed:
        raise UserError(
            f"{len(failed)} of {len(trials)} trials failed ({', '.join(failed)}): the leaderboard "
            "says why; type the same with --only-missing-outputs to run them again"
        )
