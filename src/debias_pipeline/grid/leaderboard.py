"""The leaderboard: metrics and outcomes of every trial, side by side."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, cast

import pandas as pd
from kedro.pipeline import Node, Pipeline

from debias_pipeline.errors import Unreadable, UserError
from debias_pipeline.grid.execution import ALL_DONE
from debias_pipeline.grid.trials import Trial, trials_of
from debias_pipeline.names import DONE
from debias_pipeline.reporting import (
    Leaderboard,
    TrialResult,
    command,
    draw_leaderboard_figures,
    leaderboard_frame,
    make_leaderboard,
    write_leaderboard_page,
    write_leaderboard_table,
)

METRICS, OUTCOME, DATA_CARD = "metrics of ", "outcome of ", "data card of "


def create_leaderboard(trials: Sequence[Trial], tags: Iterable[str] = ()) -> Pipeline:
    """Return the pipeline that makes the leaderboard.

    It is one node, which every run runs, and has the tags of all trials: whichever of them a run
    chooses, the leaderboard of the whole grid follows.

    Args:
        trials: of the grid, see `trials_of`; without any there is no leaderboard.
        tags: of the node, in addition to those of the trials.
    """
    if not trials:
        return Pipeline([])
    ranking = _NodeOfManyInputs(
        rank,
        inputs={
            "parameters": "parameters",
            **{METRICS + trial.name: f"{trial.name}.metrics" for trial in trials},
            **{OUTCOME + trial.name: f"{trial.name}.outcome" for trial in trials},
            **{DATA_CARD + trial.setting: f"{trial.setting}.data_card" for trial in trials},
        },
        outputs=[
            "leaderboard",
            "leaderboard_json",
            "leaderboard_figures",
            "leaderboard_page",
            "leaderboard_table",
        ],
        name="rank",
        tags={"leaderboard", "trial", ALL_DONE, *tags}.union(
            *((trial.dataset, trial.percent, trial.setting, trial.method) for trial in trials)
        ),
    )
    return Pipeline([ranking])


class _NodeOfManyInputs(Node):
    """A node that is hashed once; it must not be tagged later, which copies it as a plain node.

    Kedro hashes a node for each of its inputs, and each time by the names of all inputs: for
    those of ten thousand trials, minutes.
    """

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return super().__hash__()


def rank(
    parameters: dict[str, Any], **of_trials: Any
) -> tuple[pd.DataFrame, Leaderboard, dict[str, str], str, str]:
    """Compare the results of all trials of the grid.

    Args:
        parameters: say which trials the grid has, what was published for them, and where MLflow's
            pages are.
        of_trials: metrics and outcome of each, None where there is none, as `metrics of <trial>`
            and `outcome of <trial>`; `data card of <setting>`, ignored where it cannot be read.

    Returns:
        leaderboard, leaderboard_json, leaderboard_figures, leaderboard_page, leaderboard_table.

    Raises:
        UserError: if no trial was run, or a result cannot be read.
    """
    results = []
    for trial in trials_of(parameters):
        metrics, outcome = (of_trials[kind + trial.name] for kind in (METRICS, OUTCOME))
        for result in (metrics, outcome):
            if isinstance(result, Unreadable):
                raise UserError(result.reason)
        if _is_of_other_data(outcome, of_trials[DATA_CARD + trial.setting]):
            metrics = outcome = None
        results.append(
            TrialResult(
                trial.dataset,
                trial.percent,
                trial.method,
                metrics,
                outcome,
                trial.published_accuracy[0] if trial.published_accuracy else None,
            )
        )
    if all(each.outcome is None for each in results):
        raise UserError(
            "No trial of the grid was run, so there is nothing to rank: "
            "first kedro run --pipeline=benchmark"
        )
    leaderboard = make_leaderboard(results)
    figures = draw_leaderboard_figures(leaderboard)
    typed, env = _typed(parameters), parameters.get("typed", {}).get("env")
    page = write_leaderboard_page(
        leaderboard,
        figures,
        [command(name, typed, env) for name in ("benchmark", "leaderboard")],
        parameters["benchmark"]["mlflow_ui"],
    )
    table = write_leaderboard_table(leaderboard)
    return leaderboard_frame(leaderboard), leaderboard, figures, page, table


def _is_of_other_data(outcome: Mapping[str, Any] | None, data_card: Any) -> bool:
    """Whether a result belongs to a state of the data set that is no longer on disk."""
    now = data_card.get("content_hash") if isinstance(data_card, Mapping) else None
    return bool(outcome and now and outcome["status"] == DONE) and (
        cast(Mapping[str, Any], outcome).get("content_hash") != now
    )


def _typed(parameters: dict[str, Any]) -> dict[str, Any]:
    """Return what `--params` must name to lay out the same grid in any environment."""
    grid = {key: value for key, value in parameters["benchmark"].items() if key != "mlflow_ui"}
    of_run = parameters.get("typed", {})
    return {
        **{f"benchmark.{key}": value for key, value in grid.items() if value is not None},
        **{key: of_run[key] for key in ("raw_dir", "data_seed", "device") if key in of_run},
    }
