"""The grid as a pipeline: a namespace per setting and per cell, one node per cell."""

import pytest
from kedro.pipeline import Node

from debias_pipeline.grid import CELL_ENTRIES, Cell
from debias_pipeline.pipeline_registry import pipelines_of_grid
from debias_pipeline.pipelines.benchmark import chosen_cells, create_pipeline


def cell(percent, method, dataset="cmnist"):
    recipe = {"method": method, "steps": 10}
    return Cell(dataset, percent, method, (0, 1), "fp32", recipe, None, f"{dataset}/{percent}")


CELLS = [cell(percent, method) for percent in ("0.5pct", "1pct") for method in ("vanilla", "lff")]


@pytest.fixture(scope="module")
def grid():
    return create_pipeline(CELLS)


def names(pipeline):
    return {node.name for node in pipeline.nodes}


def test_data_is_built_once_per_setting_and_a_cell_is_one_node(grid):
    assert names(grid) == {
        "cmnist_0_5pct.build_data", "cmnist_1pct.build_data",
        "cmnist_0_5pct.vanilla.run_cell", "cmnist_0_5pct.lff.run_cell",
        "cmnist_1pct.vanilla.run_cell", "cmnist_1pct.lff.run_cell",
    }  # fmt: skip
    given = {name for name in grid.inputs() if not name.startswith("params:")}
    assert given == {f"{cell.name}.snapshots" for cell in CELLS}


def test_a_cell_takes_data_of_its_setting_and_its_own_recipe(grid):
    (node,) = grid.filter(node_namespaces=["cmnist_0_5pct.lff"]).nodes
    assert {f"cmnist_0_5pct.{name}" for name in ("images", "manifest", "data_card")} < {
        *node.inputs
    }
    assert "params:cmnist_0_5pct.lff.recipe" in node.inputs
    assert {"params:benchmark.seeds", "params:device"} < {*node.inputs}
    assert node.outputs == [f"cmnist_0_5pct.lff.{name}" for name in CELL_ENTRIES]


def test_the_outcome_is_saved_last_as_it_says_that_the_rest_is_there():
    assert CELL_ENTRIES[-1] == "outcome"


def test_namespaces_choose_settings_or_cells(grid):
    assert len(grid.filter(node_namespaces=["cmnist_1pct"]).nodes) == 3
    assert chosen_cells(CELLS, grid.filter(node_namespaces=["cmnist_1pct"])) == CELLS[2:]
    assert chosen_cells(CELLS, grid.filter(node_namespaces=["cmnist_1pct.lff"])) == CELLS[3:]


@pytest.mark.parametrize("tag", ["cmnist", "1pct", "cmnist_1pct", "lff"])
def test_tags_choose_cells_with_their_data_and_end_with_the_leaderboard(tag):
    chosen = pipelines_of_grid(CELLS)["benchmark"].filter(tags=[tag])
    ran = chosen_cells(CELLS, chosen)
    assert ran == [each for each in CELLS if tag in (*each.name.split("."), each.percent, "cmnist")]
    assert {f"{each.setting}.build_data" for each in ran} <= names(chosen)
    assert "rank" in names(chosen)


def test_the_tag_data_makes_the_data_only(grid):
    assert names(grid.filter(tags=["data"])) == {
        "cmnist_0_5pct.build_data",
        "cmnist_1pct.build_data",
    }


def test_without_cells_there_is_nothing_to_run():
    assert not create_pipeline([]).nodes


def test_the_leaderboards_many_inputs_are_hashed_once_however_many_cells(monkeypatch):
    hashed = []

    def counted(node):
        hashed.append(node.name)
        return hash(node._unique_key)

    monkeypatch.setattr(Node, "__hash__", counted)
    cells = [cell(f"{each + 1}pct", "vanilla") for each in range(30)]
    pipelines_of_grid(cells)["benchmark"].filter(tags=["vanilla"])
    assert hashed.count("rank") == 1
