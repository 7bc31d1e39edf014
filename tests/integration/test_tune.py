"""`kedro run --pipeline=tune`, from the command to the files."""

import json
import shlex

from throwaway_project import make_project

from debias_pipeline.cli import run

SEARCH = {"tune__trials": 2, "tune__methods": "vanilla+lff", "recipe__steps": 6, "threads": 1}


def test_a_search_prints_commands_that_work_and_tracks_every_trial(tmp_path):
    project = make_project(tmp_path / "project")
    done = project.run("--pipeline=tune", **SEARCH)
    assert done.exit_code == 0, done.stderr
    said = " ".join(done.stdout.split())
    assert "4 trials are left, which take about" in said
    assert "lff trial 2 of 2: score 0." in said and "No test image was read" in said

    tuning = json.loads(project.file("08_reporting/*/*/tune/tuning.json/*/*.json").read_text())
    best = tuning["methods"]["lff"]["best"]
    command = tuning["methods"]["lff"]["command"]
    assert command in done.stdout
    typed = run.make_context("run", shlex.split(command)[2:]).params
    recipe = project.load("params:lff.recipe", **typed["params"])
    assert typed["pipeline"] == "lff" and recipe["steps"] == 6
    assert {field: recipe[field] for field in best["values"]} == best["values"]

    *trials, parent = project.mlflow_runs()
    assert parent.info.run_name == "cmnist_mini 2pct/tune"
    assert parent.data.params["tune.trials"] == "2"
    assert [trial.info.run_name.partition("/")[2] for trial in reversed(trials)] == [
        "vanilla trial 1", "vanilla trial 2", "lff trial 1", "lff trial 2",
    ]  # fmt: skip
    for trial in trials:
        assert trial.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert "validation_score" in trial.data.metrics and "recipe.lr" in trial.data.params
        assert not [name for name in trial.data.metrics if "test" in name]

    refused = project.run("--pipeline=vanilla", tune__trials=3)
    assert refused.exit_code == 1 and "used only by --pipeline=tune" in refused.stderr
