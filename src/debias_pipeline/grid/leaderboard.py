"""The pipeline that compares the metrics and outcomes of all trials."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import pandas as pd
from kedro.pipeline import Node, Pipeline

from debias_pipeline.biased_data import get_dataset
from debias_pipeline.described import described_node
from debias_pipeline.errors import Unreadable, UserError
from debias_pipeline.grid.execution import ALL_DONE
from debias_pipeline.grid.references import (
    REFERENCES,
    network_of,
    read_references,
    recipe_changes_of,
    with_references,
)
from debias_pipeline.grid.trials import GRID_TAG, Trial, trials_of
from debias_pipeline.methods import get_method
from debias_pipeline.names import DONE
from debias_pipeline.published import shown_accuracy
from debias_pipeline.records import DataCard
from debias_pipeline.reporting import (
    Leaderboard,
    TrialResult,
    command,
    draw_leaderboard_figures,
    leaderboard_charts,
    leaderboard_frame,
    make_leaderboard,
    write_leaderboard_files,
    write_leaderboard_page,
)

METRICS, OUTCOME, DATA_CARD = "metrics of ", "outcome of ", "data card of "


def create_leaderboard(trials: Sequence[Trial]) -> Pipeline:
    """Return the pipeline that makes the leaderboard.

    It has one node with the tags of all trials, so that every run makes the leaderboard of the
    whole grid, whichever trials `--tags` selects.

    Args:
        trials: trials of the grid, see `trials_of`; if empty, the pipeline is empty.
    """
    if not trials:
        return Pipeline([])
    ranking = described_node(
        rank,
        inputs={
            "parameters": "parameters",
            REFERENCES: REFERENCES,
            **{METRICS + trial.name: f"{trial.name}.metrics" for trial in trials},
            **{OUTCOME + trial.name: f"{trial.name}.outcome" for trial in trials},
            **{DATA_CARD + trial.setting: f"{trial.setting}.data_card" for trial in trials},
        },
        outputs=[
            "leaderboard",
            "leaderboard_json",
            "leaderboard_figures",
            "leaderboard_page",
            "leaderboard_tables",
        ],
        name="rank",
        tags={GRID_TAG, "leaderboard", "trial", ALL_DONE}.union(
            *((trial.dataset, trial.percent, trial.setting, trial.method) for trial in trials)
        ),
        node_type=_NodeWithCachedHash,
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
    parameters: dict[str, Any], references: Any = None, **of_trials: Any
) -> tuple[pd.DataFrame, Leaderboard, dict[str, str], str, dict[str, str]]:
    """Compare the results of all trials of the grid, and references of the same settings.

    Args:
        parameters: parameters of the run; they define the trials, their published accuracies and
            the URL of MLflow's pages.
        references: see `read_references`.
        of_trials: `metrics of <trial>` and `outcome of <trial>`, None if missing; `data card of
            <setting>`, ignored if it cannot be read.

    Returns:
        leaderboard, leaderboard_json, leaderboard_figures, leaderboard_page, leaderboard_tables.

    Raises:
        UserError: if no trial was run, or a result cannot be read.
    """
    if isinstance(references, Unreadable):
        raise UserError(references.reason)
    results, trials = [], trials_of(parameters)
    for trial in trials:
        metrics, outcome = (of_trials[kind + trial.name] for kind in (METRICS, OUTCOME))
        for result in (metrics, outcome):
            if isinstance(result, Unreadable):
                raise UserError(result.reason)
        card = of_trials[DATA_CARD + trial.setting]
        if _is_outdated(outcome, card):
            metrics = outcome = None
        dataset = get_dataset(trial.dataset)
        has_percents = dataset.has_percents
        results.append(
            TrialResult(
                dataset=trial.dataset,
                percent=trial.percent if has_percents else "",
                method=trial.method,
                metrics=metrics,
                outcome=outcome,
                published=shown_accuracy(
                    trial.published_accuracy,
                    metrics["headline"] if metrics else dataset.headline,
                ),
                name="" if has_percents else dataset.title("", Path(parameters["raw_dir"])),
                # Cards of earlier versions, or damaged ones, are ignored.
                data_card=cast(DataCard, card) if _is_complete(card) else None,
                recipe_changes=recipe_changes_of(trial, trial.recipe or {}),
                bias_labels=get_method(trial.method).bias_labels,
                network=network_of(trial.recipe or {}),
            )
        )
    if all(each.outcome is None for each in results):
        raise UserError(
            "No trial of the grid was run, so the leaderboard is empty; "
            f"run this first: {grid_command('benchmark', parameters)}"
        )
    found = read_references(references)
    results = with_references(results, trials, found, parameters.get("data_seed", 0))
    leaderboard = make_leaderboard(results)
    figures, files = draw_leaderboard_figures(leaderboard), write_leaderboard_files(leaderboard)
    page = write_leaderboard_page(
        leaderboard,
        figures,
        [
            grid_command(name, _with_used_threads(parameters, leaderboard))
            for name in ("benchmark", "leaderboard")
        ],
        parameters["benchmark"]["mlflow_ui"],
        leaderboard_charts(leaderboard),
        files,
    )
    return leaderboard_frame(leaderboard), leaderboard, figures, page, files


def _is_complete(data_card: Any) -> bool:
    return isinstance(data_card, Mapping) and "splits" in data_card


def _is_outdated(outcome: Mapping[str, Any] | None, data_card: Any) -> bool:
    """Return whether a finished trial is known to be trained on other data than that on disk."""
    if outcome is None or outcome["status"] != DONE or not isinstance(data_card, Mapping):
        return False
    now = data_card.get("content_hash")
    return bool(now) and outcome.get("content_hash") != now


def _with_used_threads(
    parameters: Mapping[str, Any], leaderboard: Leaderboard
) -> Mapping[str, Any]:
    """Return parameters with the threads that trials had: `auto` depends on the machine."""
    rows = [row for row in leaderboard["rows"] if not row["reference"]]
    used = {row["threads"] for row in rows if row["threads"]}
    if len(used) != 1:
        return parameters
    return {**parameters, "benchmark": {**parameters["benchmark"], "threads": used.pop()}}


def grid_command(pipeline: str, parameters: Mapping[str, Any], option: str = "") -> str:
    """Return the command that runs a pipeline of the same grid.

    Args:
        pipeline: benchmark or leaderboard.
        parameters: parameters of the run.
        option: a further option of the command line.
    """
    text = command(pipeline, _typed_parameters(parameters), parameters.get("typed", {}).get("env"))
    return f"{text} {option}" if option else text


def _typed_parameters(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters with which a command runs the same grid again, for `--params`.

    They contain the whole grid, so that the command does not depend on the environment of conf/.
    """
    grid = {key: value for key, value in parameters["benchmark"].items() if key != "mlflow_ui"}
    of_run = parameters.get("typed", {})
    return {
        **{f"benchmark.{key}": value for key, value in grid.items() if value is not None},
        **{key: of_run[key] for key in ("raw_dir", "data_seed", "device") if key in of_run},
    }
