"""Metrics and outcomes of every cell → the leaderboard."""

from collections.abc import Mapping
from typing import Any, cast

import pandas as pd

from debias_pipeline.errors import UserError
from debias_pipeline.grid import cells_of
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


def rank(
    parameters: dict[str, Any], **of_cells: Any
) -> tuple[pd.DataFrame, Leaderboard, dict[str, str], str, str]:
    """Put what the grid's cells left side by side.

    Args:
        parameters: say which cells the grid has, what was published for them, and where MLflow's
            pages are.
        of_cells: metrics and outcome of each, None where there is none, as `metrics of <cell>`
            and `outcome of <cell>`; `data card of <setting>`, None or a Hole where there is none.

    Returns:
        leaderboard, leaderboard_json, leaderboard_figures, leaderboard_page, leaderboard_table.

    Raises:
        UserError: if no cell was run.
    """
    results = []
    for cell in cells_of(parameters):
        metrics, outcome = of_cells[METRICS + cell.name], of_cells[OUTCOME + cell.name]
        if _is_of_other_data(outcome, of_cells[DATA_CARD + cell.setting]):
            metrics = outcome = None
        results.append(
            TrialResult(
                cell.dataset,
                cell.percent,
                cell.method,
                metrics,
                outcome,
                cell.published_accuracy[0] if cell.published_accuracy else None,
            )
        )
    if all(each.outcome is None for each in results):
        raise UserError(
            "No cell of the grid was run, so there is nothing to rank: "
            "first kedro run --pipeline=benchmark"
        )
    leaderboard = make_leaderboard(results)
    figures = draw_leaderboard_figures(leaderboard)
    typed = _typed(parameters)
    page = write_leaderboard_page(
        leaderboard,
        figures,
        [command(name, typed) for name in ("benchmark", "leaderboard")],
        parameters["benchmark"]["mlflow_ui"],
    )
    table = write_leaderboard_table(leaderboard)
    return leaderboard_frame(leaderboard), leaderboard, figures, page, table


def _is_of_other_data(outcome: Mapping[str, Any] | None, data_card: Any) -> bool:
    """Whether a result belongs to a state of the data set that is no longer on disk."""
    now = data_card.get("content_hash") if isinstance(data_card, Mapping) else None
    return bool(outcome and now and outcome["status"] == "done") and (
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
