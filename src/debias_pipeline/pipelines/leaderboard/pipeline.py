"""Wiring of the leaderboard."""

from collections.abc import Sequence

from kedro.pipeline import Pipeline, node, pipeline

from debias_pipeline.grid import Cell
from debias_pipeline.pipelines.leaderboard.nodes import METRICS, OUTCOME, rank


def create_pipeline(cells: Sequence[Cell]) -> Pipeline:
    """What the cells left → the leaderboard.

    It is one node, made anew by each run, and carries the tags of all cells: whichever of them a
    run is confined to, the leaderboard of the whole grid follows.

    Args:
        cells: of the grid, see `grid.cells_of`; without any there is no leaderboard.
    """
    if not cells:
        return Pipeline([])
    return pipeline(
        [
            node(
                rank,
                inputs={
                    "parameters": "parameters",
                    **{METRICS + cell.name: f"{cell.name}.metrics" for cell in cells},
                    **{OUTCOME + cell.name: f"{cell.name}.outcome" for cell in cells},
                },
                outputs=[
                    "leaderboard",
                    "leaderboard_json",
                    "leaderboard_figures",
                    "leaderboard_page",
                    "leaderboard_table",
                ],
                name="rank",
            )
        ],
        tags={"leaderboard", "cell"}.union(
            *((cell.dataset, cell.percent, cell.setting, cell.method) for cell in cells)
        ),
    )
