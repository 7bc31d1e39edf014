"""The pipeline that compares the metrics and outcomes of all trials."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

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

    It has one node with the tags of all trials, so that every run makes the leaderboard of the
    whole grid, whichever trials `--tags` selects.

    Args:
        trials: trials of the grid, see `trials_of`; if empty, the pipeline is empty.
        tags: tags of the node, in addition to those of the trials.
    """
    if not trials:
        return Pipeline([])
    ranking = _NodeWithCachedHash(
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


class _NodeWithCachedHash(Node):
    """A node that caches its hash.

    Kedro hashes a node once per input, and each hash reads the names of all inputs, which takes
    minutes for ten thousand trials. Give the node all its tags when it is created: `Node.tag`
    returns a plain node.
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
        parameters: parameters of the run; they define the trials, their published accuracies and
            the URL of MLflow's pages.
        of_trials: `metrics of <trial>` and `outcome of <trial>`, None if missing; `data card of
            <setting>`, ignored if it cannot be read.

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
        if _is_outdated(outcome, of_trials[DATA_CARD + trial.setting]):
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
            "No trial of the grid was run, so the leaderboard is empty; "
            "run this first: kedro run --pipeline=benchmark"
        )
    leaderboard = make_leaderboard(results)
    figures = draw_leaderboard_figures(leaderboard)
    typed, env = _typed_parameters(parameters), parameters.get("typed", {}).get("env")
    page = write_leaderboard_page(
        leaderboard,
        figures,
        [command(name, typed, env) for name in ("benchmark", "leaderboard")],
        parameters["benchmark"]["mlflow_ui"],
    )
    table = write_leaderboard_table(leaderboard)
    return leaderboard_frame(leaderboard), leaderboard, figures, page, table


def _is_outdated(outcome: Mapping[str, Any] | None, data_card: Any) -> bool:
    """Return whether a finished trial is known to be trained on other data than that on disk."""
    if outcome is None or outcome["status"] != DONE or not isinstance(data_card, Mapping):
        return False
    now = data_card.get("content_hash")
    return bool(now) and outcome.get("content_hash") != now


def _typed_parameters(parameters: dict[str, Any]) -> dict[str, Any]:
    """Return the `--params` that define the same grid in any environment of conf/."""
    grid = {key: value for key, value in parameters["benchmark"].items() if key != "mlflow_ui"}
    of_run = parameters.get("typed", {})
    return {
        **{f"benchmark.{key}": value for key, value in grid.items() if value is not None},
        **{key: of_run[key] for key in ("raw_dir", "data_seed", "device") if key in of_run},
    }
