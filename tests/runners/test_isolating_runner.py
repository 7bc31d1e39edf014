"""The grid on one machine: what fails, what goes on, and what the leaderboard gets."""

from typing import Any

import pytest
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Node, Pipeline, node

from debias_pipeline.errors import UserError
from debias_pipeline.grid import ALL_DONE
from debias_pipeline.runners import IsolatingRunner
from debias_pipeline.runners.groups import groups_of, in_order

METHODS = ("disent", "vanilla")
SETTINGS = ("cmnist_1pct", "cmnist_2pct")
PARAMETERS: dict[str, Any] = {
    "benchmark": {
        "datasets": ["cmnist"],
        "percents": ["1pct", "2pct"],
        "methods": [*METHODS],
        "seed": 0,
        "seeds": 1,
        "precision": "fp32",
        "threads": "auto",
    },
    **{
        setting: {
            **dict.fromkeys(["data_folder", "images_folder"], f"cmnist/{setting}"),
            **{method: {"recipe": {"steps": 1}, "published_accuracy": []} for method in METHODS},
        }
        for setting in SETTINGS
    },
}


class Grid:
    """A grid whose nodes record their names; the test chooses which of them fail."""

    def __init__(self, *failing: str) -> None:
        self.failing, self.ran = failing, []
        self.catalog = DataCatalog({"parameters": MemoryDataset(PARAMETERS)})
        self.ranked: dict[str, Any] = {}

    def node(self, name: str, inputs: list[str], outputs: list[str], **options: Any) -> Node:
        def work(*values: Any) -> Any:
            self.ran.append(name)
            if name in self.failing:
                raise UserError(f"{name} cannot work")
            return [name] * len(outputs)

        namespace = name.rpartition(".")[0]
        step = name.rpartition(".")[2]
        return node(work, inputs or None, outputs, name=step, namespace=namespace, **options)

    def pipeline(self) -> Pipeline:
        nodes, results = [], []
        for setting in SETTINGS:
            data = f"{setting}.images"
            nodes.append(self.node(f"{setting}.build_data", [], [data], tags=["data"]))
            for method in METHODS:
                name = f"{setting}.{method}"
                model, outcome = f"{name}.model", f"{name}.outcome"
                nodes.append(self.node(f"{name}.train", [data], [model]))
                nodes.append(self.node(f"{name}.finish", [model, data], [outcome]))
                results.append(outcome)

        def rank(**outcomes: Any) -> dict[str, Any]:
            self.ranked = outcomes
            return outcomes

        inputs = {name.replace(".", " "): name for name in results}
        nodes.append(node(rank, inputs, "leaderboard", name="rank", tags=[ALL_DONE]))
        return Pipeline(nodes)

    def run(self, pipeline: Pipeline | None = None) -> None:
        IsolatingRunner().run(pipeline or self.pipeline(), self.catalog)

    def outcome(self, name: str) -> Any:
        return self.catalog.load(f"{name}.outcome")


def test_nodes_of_a_trial_are_run_together_after_their_data():
    grid = Grid()
    needs = groups_of(grid.pipeline(), grid.catalog)
    order = [group.name for group in in_order(needs)]
    assert order == [
        "cmnist_1pct.build_data", "cmnist_2pct.build_data",
        "cmnist_1pct.disent", "cmnist_1pct.vanilla", "cmnist_2pct.disent", "cmnist_2pct.vanilla",
        "rank",
    ]  # fmt: skip
    sizes = {group.name: len(group.nodes) for group in needs}
    assert sizes["cmnist_1pct.disent"] == 2


def test_a_trial_that_fails_is_cut_short_and_the_others_go_on():
    grid = Grid("cmnist_1pct.disent.train")
    grid.run()
    outcome = grid.outcome("cmnist_1pct.disent")
    assert outcome["status"] == "failed"
    assert outcome["error"] == "cmnist_1pct.disent.train cannot work"
    assert "cmnist_1pct.disent.finish" not in grid.ran
    assert grid.outcome("cmnist_1pct.vanilla") == "cmnist_1pct.vanilla.finish"
    assert grid.ranked["cmnist_1pct disent outcome"] == outcome


def test_trials_whose_data_cannot_be_made_fail_with_its_reason():
    grid = Grid("cmnist_2pct.build_data")
    grid.run()
    for method in METHODS:
        outcome = grid.outcome(f"cmnist_2pct.{method}")
        assert outcome["error"] == "cmnist_2pct.build_data cannot work"
    assert not [name for name in grid.ran if name.startswith("cmnist_2pct.vanilla")]
    assert grid.outcome("cmnist_1pct.disent") == "cmnist_1pct.disent.finish"


def test_data_that_cannot_be_made_is_an_error_if_no_trial_tells_it():
    grid = Grid("cmnist_1pct.build_data")
    with pytest.raises(UserError, match=r"cmnist_1pct \(cmnist_1pct.build_data cannot work\)"):
        grid.run(grid.pipeline().filter(tags=["data"]))
    assert "cmnist_2pct.build_data" in grid.ran


def test_a_node_of_no_trial_ends_the_run_if_it_fails():
    grid = Grid("cmnist_1pct.disent.train")
    without_outcomes = grid.pipeline().filter(to_outputs=["cmnist_1pct.disent.model"])
    with pytest.raises(UserError, match="train cannot work"):
        grid.run(without_outcomes)


def test_the_leaderboard_gets_none_for_a_trial_that_was_never_run():
    grid = Grid()
    for setting in SETTINGS:
        for method in METHODS:
            grid.catalog[f"{setting}.{method}.outcome"] = MemoryDataset()
    grid.run(grid.pipeline().filter(tags=[ALL_DONE]))
    assert {*grid.ranked.values()} == {None}
    assert len(grid.ranked) == 4
