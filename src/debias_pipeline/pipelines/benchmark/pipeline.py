"""Wiring of the grid: the data of every setting, built once, and a node per cell."""

from collections.abc import Sequence
from typing import Final

from kedro.pipeline import Pipeline, node, pipeline

from debias_pipeline.grid import CELL_ENTRIES, CELL_SNAPSHOTS, SETTING_ENTRIES, Cell
from debias_pipeline.pipelines.benchmark.nodes import build_setting, run_cell

# On every node of the pipelines `benchmark` and `leaderboard`.
GRID_TAG: Final = "grid"
# What a cell needs of its setting.
CELL_DATA = ("images", "manifest", "data_card", "data_problem")
DATA_PARAMETERS = ("params:raw_dir", "params:data_seed")
# What cells have in common, by the name of the argument.
CELL_PARAMETERS = {
    "seed": "params:benchmark.seed",
    "seeds": "params:benchmark.seeds",
    "device": "params:device",
    "precision": "params:benchmark.precision",
    "threads": "params:benchmark.threads",
    "resume": "params:resume",
}


def create_pipeline(cells: Sequence[Cell]) -> Pipeline:
    """The whole grid.

    Namespaces are `<setting>` for its data and `<setting>.<method>` for a cell. Nodes are tagged
    with data set, percent, setting and method (data: all methods), cells also with `cell`.

    Args:
        cells: see `grid.cells_of`.
    """
    settings: dict[str, list[Cell]] = {}
    for cell in cells:
        settings.setdefault(cell.setting, []).append(cell)
    # At once: adding them one by one takes longer the more there are.
    return Pipeline([*map(_data, settings.values()), *map(_cell, cells)])


def _data(cells: Sequence[Cell]) -> Pipeline:
    """The data of one setting, for all its cells."""
    first = cells[0]
    return pipeline(
        [
            node(
                build_setting,
                inputs=[
                    "params:dataset",
                    "params:percent",
                    *DATA_PARAMETERS,
                    "params:data_options",
                ],
                outputs=[*SETTING_ENTRIES],
                name="build_data",
            )
        ],
        namespace=first.setting,
        parameters=set(DATA_PARAMETERS),
        tags={
            GRID_TAG,
            "data",
            first.dataset,
            first.percent,
            first.setting,
            *(cell.method for cell in cells),
        },
    )


def _cell(cell: Cell) -> Pipeline:
    of_setting = ("dataset", "percent")
    return pipeline(
        [
            node(
                run_cell,
                inputs={
                    **{name: name for name in (*CELL_DATA, CELL_SNAPSHOTS)},
                    **{name: f"params:{name}" for name in of_setting},
                    "recipe": "params:recipe",
                    **CELL_PARAMETERS,
                },
                outputs=[*CELL_ENTRIES],
                name="run_cell",
            )
        ],
        namespace=cell.name,
        inputs={name: f"{cell.setting}.{name}" for name in CELL_DATA},
        parameters={
            **{f"params:{name}": f"params:{cell.setting}.{name}" for name in of_setting},
            **{name: name for name in CELL_PARAMETERS.values()},
        },
        tags={GRID_TAG, "cell", cell.dataset, cell.percent, cell.setting, cell.method},
    )
