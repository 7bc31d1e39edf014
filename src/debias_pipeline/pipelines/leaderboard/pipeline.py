"""Wiring of the leaderboard."""

from collections.abc import Iterable, Sequence
from functools import cached_property

from kedro.pipeline import Node, Pipeline

from debias_pipeline.grid import Cell
from debias_pipeline.pipelines.leaderboard.nodes import DATA_CARD, METRICS, OUTCOME, rank


def create_pipeline(cells: Sequence[Cell], tags: Iterable[str] = ()) -> Pipeline:
    """What the cells left → the leaderboard.

    It is one node, made anew by each run, and carries the tags of all cells: whichever of them a
    run is confined to, the leaderboard of the whole grid follows.

    Args:
        cells: of the grid, see `grid.cells_of`; without any there is no leaderboard.
        tags: of the node, beside those of the cells.
    """
    if not cells:
        return Pipeline([])
    ranking = _NodeOfManyInputs(
        rank,
        inputs={
            "parameters": "parameters",
            **{METRICS + cell.name: f"{cell.name}.metrics" for cell in cells},
            **{OUTCOME + cell.name: f"{cell.name}.outcome" for cell in cells},
            **{DATA_CARD + cell.setting: f"{cell.setting}.data_card" for cell in cells},
        },
        outputs=[
            "leaderboard",
            "leaderboard_json",
            "leaderboard_figures",
            "leaderboard_page",
            "leaderboard_table",
        ],
        name="rank",
        tags={"leaderboard", "cell", *tags}.union(
            *((cell.dataset, cell.percent, cell.setting, cell.method) for cell in cells)
        ),
    )
    return Pipeline([ranking])


class _NodeOfManyInputs(Node):
    """A node that is hashed once; it must not be tagged later, which copies it as a plain node.

    Kedro hashes a node for each of its inputs, and each time by the names of all inputs: for
    those of ten thousand cells, minutes.
    """

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return super().__hash__()
