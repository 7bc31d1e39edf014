"""Check a grid before it runs, and its outcomes afterwards."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from kedro.pipeline import Pipeline

from debias_pipeline.errors import UserError
from debias_pipeline.grid.catalog import Catalog
from debias_pipeline.grid.leaderboard import grid_command
from debias_pipeline.grid.parameters import OVERRIDES
from debias_pipeline.grid.pipeline import TRIAL_DATA
from debias_pipeline.grid.trials import Trial
from debias_pipeline.names import DONE
from debias_pipeline.recipes import no_recipe

# The keys of --params that a grid uses, and its keys that replace those of an ordinary run.
_GRID_KEYS: Final = ("benchmark", "raw_dir", "data_seed", "device", "resume")
_REPLACED_BY: Final = {
    "dataset": "benchmark.datasets",
    "percent": "benchmark.percents",
    "seed": "benchmark.seed",
    "seeds": "benchmark.seeds",
    "precision": "benchmark.precision",
    "recipe": OVERRIDES,
}


def chosen_trials(trials: Iterable[Trial], pipeline: Pipeline) -> list[Trial]:
    """Return the trials that a pipeline runs; options such as `--tags` may exclude some."""
    outputs = pipeline.all_outputs()
    return [trial for trial in trials if f"{trial.name}.outcome" in outputs]


def check_typed(typed: Iterable[str]) -> None:
    """Check that `--params` contains no key that a grid would ignore.

    Args:
        typed: the first parts of the keys of `--params`.

    Raises:
        UserError: if there is such a key; the message names the key of the grid to use.
    """
    for key in typed:
        if key in _GRID_KEYS:
            continue
        instead = _REPLACED_BY.get(key)
        hint = f"use --params {instead}=…" if instead else "see conf/base/parameters_benchmark.yml"
        raise UserError(f"Parameter '{key}' is not used by the grid; {hint}")


def check_trials(
    trials: Sequence[Trial], pipeline: Pipeline, catalog: Catalog, parameters: Mapping[str, Any]
) -> None:
    """Check that all trials can run.

    Args:
        trials: the trials that the pipeline runs.
        pipeline: the pipeline that will run.
        catalog: catalog of the run.
        parameters: parameters of the run.

    Raises:
        UserError: if a method has no recipe for a data set, or if data is missing that the
            pipeline does not make.
    """
    for trial in trials:
        if trial.recipe is None:
            raise UserError(
                f"{no_recipe(trial.method, trial.dataset)}, or remove one of them from the grid"
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
        first = grid_command("benchmark", parameters, f"--nodes={nodes}")
        raise UserError(
            f"The data of {', '.join(missing)} does not exist, and this run does not make it; "
            f"run this first: {first}"
        )


def check_outcomes(trials: Sequence[Trial], outcomes: Mapping[str, Any]) -> None:
    """Check that no trial has failed.

    Args:
        trials: the trials that were run.
        outcomes: trial name → outcome, None if the outcome is missing.

    Raises:
        UserError: if trials failed; the message names them.
    """
    failed = [trial.name for trial in trials if (outcomes[trial.name] or {}).get("status") != DONE]
    if failed:
        raise UserError(
            f"{len(failed)} of {len(trials)} trials failed ({', '.join(failed)}); see the "
            "leaderboard for the reasons, and run the same command with --only-missing-outputs to "
            "run them again"
        )
