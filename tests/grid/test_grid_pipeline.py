"""The grid as a pipeline: a namespace per setting and per trial, with the ordinary nodes."""

import pytest
from kedro.pipeline import Node

from debias_pipeline.grid import (
    SETTING_ENTRIES,
    TRIAL_ENTRIES,
    Trial,
    chosen_trials,
    create_pipelines,
)
from debias_pipeline.grid.catalog import IN_MEMORY, resolve_catalog
from debias_pipeline.pipelines import evaluation, training


def trial(percent, method, dataset="cmnist"):
    recipe = {"method": method, "steps": 10}
    folder = f"{dataset}/{percent}"
    return Trial(dataset, percent, method, (0, 1), "fp32", recipe, [], folder, folder)


TRIALS = [trial(percent, method) for percent in ("0.5pct", "1pct") for method in ("vanilla", "lff")]
STEPS = ("train", "predict", "evaluate", "record_outcome")


@pytest.fixture(scope="module")
def benchmark():
    return create_pipelines(TRIALS)["benchmark"]


def names(pipeline):
    return {node.name for node in pipeline.nodes}


def test_data_is_built_once_per_setting_and_a_trial_has_the_ordinary_nodes(benchmark):
    assert names(benchmark) == {
        "cmnist_0_5pct.build_data",
        "cmnist_1pct.build_data",
        *(f"{trial.name}.{step}" for trial in TRIALS for step in STEPS),
        "rank",
    }
    ordinary = training.create_pipeline("lff") + evaluation.create_pipeline("lff")
    functions = {node.name.split(".")[-1]: node.func for node in ordinary.nodes}
    for node in benchmark.filter(node_namespaces=["cmnist_1pct.lff"]).nodes:
        step = node.name.split(".")[-1]
        assert node.func is functions.get(step, node.func)
    given = {name for name in benchmark.inputs() if not name.startswith("param")}
    assert given == {
        *(f"{trial.name}.snapshots" for trial in TRIALS),
        *(f"{trial.setting}.bad_files" for trial in TRIALS),
        "references",
    }


def test_a_trial_takes_data_of_its_setting_and_its_own_recipe(benchmark):
    trial = benchmark.filter(node_namespaces=["cmnist_0_5pct.lff"])
    assert {f"cmnist_0_5pct.{name}" for name in ("images", "manifest", "data_card")} < (
        trial.inputs()
    )
    assert "params:cmnist_0_5pct.lff.recipe" in trial.inputs()
    assert {"params:benchmark.seeds", "params:device"} < trial.inputs()
    outputs = {f"cmnist_0_5pct.lff.{name}" for name in (*TRIAL_ENTRIES, "final_metrics")}
    assert trial.all_outputs() == outputs


def test_the_outcome_is_made_last_as_it_says_that_the_rest_is_there(benchmark):
    trial = benchmark.filter(node_namespaces=["cmnist_0_5pct.lff"])
    assert trial.nodes[-1].outputs == ["cmnist_0_5pct.lff.outcome"]


def test_namespaces_choose_settings_or_trials(benchmark):
    setting = benchmark.filter(node_namespaces=["cmnist_1pct"])
    assert len(setting.nodes) == 1 + 2 * len(STEPS)
    assert chosen_trials(TRIALS, setting) == TRIALS[2:]
    assert chosen_trials(TRIALS, benchmark.filter(node_namespaces=["cmnist_1pct.lff"])) == [
        TRIALS[3]
    ]


@pytest.mark.parametrize("tag", ["cmnist", "1pct", "cmnist_1pct", "lff"])
def test_tags_choose_trials_with_their_data_and_end_with_the_leaderboard(benchmark, tag):
    chosen = benchmark.filter(tags=[tag])
    ran = chosen_trials(TRIALS, chosen)
    assert ran == [
        each for each in TRIALS if tag in (*each.name.split("."), each.percent, "cmnist")
    ]
    assert {f"{each.setting}.build_data" for each in ran} <= names(chosen)
    assert {f"{each.name}.{step}" for each in ran for step in STEPS} <= names(chosen)
    assert "rank" in names(chosen)


def test_the_tag_data_makes_the_data_only(benchmark):
    assert names(benchmark.filter(tags=["data"])) == {
        "cmnist_0_5pct.build_data",
        "cmnist_1pct.build_data",
    }


def test_without_trials_there_is_nothing_to_run():
    assert not any(pipeline.nodes for pipeline in create_pipelines([]).values())


def test_the_leaderboards_many_inputs_are_hashed_once_however_many_trials(monkeypatch):
    hashed = []

    def counted(node):
        hashed.append(node.name)
        return hash(node._unique_key)

    monkeypatch.setattr(Node, "__hash__", counted)
    trials = [trial(f"{each + 1}pct", "vanilla") for each in range(30)]
    create_pipelines(trials)["benchmark"].filter(tags=["vanilla"])
    assert hashed.count("rank") == 1


def test_factories_are_resolved_for_the_run_and_for_every_trial():
    of_method = {
        f"<{{folder}}>.{{method}}.{name}": {
            "type": "T",
            "filepath": f"{{folder}}/{{method}}/{name}",
        }
        for name in (*TRIAL_ENTRIES, "snapshots")
    }
    of_data = {
        "<{folder}>." + name: {"type": "T", "filepath": "{folder}/" + name, "versioned": True}
        for name in (*SETTING_ENTRIES, "bad_files")
    }
    of_data["<{folder}, {images_folder}>.images"] = {
        **of_data.pop("<{folder}>.images"), "filepath": "{images_folder}/images",
    }  # fmt: skip
    plain = {"leaderboard": {"type": "T", "filepath": "leaderboard"}}
    first = TRIALS[0]
    config = {**of_method, **of_data, **plain}
    entries = resolve_catalog(config, "cmnist/5pct", "cmnist/all", [first])
    assert entries["images"]["filepath"] == "cmnist/all/images"
    assert entries["manifest"]["filepath"] == "cmnist/5pct/manifest"
    assert entries["{method}.metrics"]["filepath"] == "cmnist/5pct/{method}/metrics"
    assert entries["cmnist_0_5pct.images"] == {
        "type": "T", "filepath": "cmnist/0.5pct/images", "versioned": True,
    }  # fmt: skip
    metrics = f"cmnist/0.5pct/benchmark-{first.digest}/vanilla/metrics"
    assert entries["cmnist_0_5pct.vanilla.metrics"]["filepath"] == metrics
    assert entries["cmnist_0_5pct.vanilla.final_metrics"] == IN_MEMORY
    assert entries["leaderboard"] == plain["leaderboard"]
    assert not [name for name in entries if name.startswith("<")]
