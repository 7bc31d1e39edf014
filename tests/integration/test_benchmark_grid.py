"""The whole grid by one command: what it leaves, what it does again, and how it fails."""

import json
import re
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from throwaway_project import Outcome, Project, make_project

from in_browser import DESKTOP, PHONE, needs_chromium, opened, serious_barriers

METHODS = ("vanilla", "lff")
PERCENTS = ("0.5pct", "2pct")
TINY: dict[str, Any] = {
    "benchmark__methods": "+".join(METHODS),
    "benchmark__percents": "+".join(PERCENTS),
    "benchmark__seeds": 2,
    "benchmark__overrides__steps": 10,
    "benchmark__overrides__eval_every": 10,
    "device": "cpu",
}
ONE_TRIAL = {**TINY, "benchmark__methods": "vanilla", "benchmark__percents": "2pct"}
GRID, AGAIN = "--pipeline=benchmark", "--only-missing-outputs"
LEADERBOARD = "08_reporting/benchmark/"


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, Outcome]:
    """What one grid leaves, and what it said. It is shared: tests only look at it."""
    project = make_project(tmp_path_factory.mktemp("grid") / "project")
    return project, project.run(GRID, **TINY)


@pytest.fixture
def bare(grid: Project) -> Project:
    """A project with data but without results; another from nothing would take seconds."""
    for layer in ("06_models", "07_model_output", "08_reporting"):
        shutil.rmtree(grid.path / "data" / layer)
    return grid


@pytest.fixture
def grid(done: tuple[Project, Outcome], tmp_path: Path) -> Project:
    """A copy of a finished grid, to do with as one likes."""
    return done[0].copy(tmp_path / "project")


def outcomes(project: Project) -> dict[tuple[str, str], dict[str, Any]]:
    """The latest outcome of each percent and method."""
    found = {}
    files = project.files("08_reporting/cmnist_mini/*/benchmark-*/*/outcome.json/*/*")
    for path in sorted(files, key=lambda path: path.parent.name):
        outcome = json.loads(path.read_text())
        found[outcome["percent"], outcome["method"]] = outcome
    return found


def new_files(project: Project, before: dict[str, Any]) -> set[str]:
    """What was written since, but for the leaderboard."""
    changed = {path for path, state in project.results().items() if before.get(path) != state}
    return {path for path in changed if LEADERBOARD not in path}


def trials_of(files: set[str]) -> set[tuple[str, str]]:
    """Percents and methods of results, from data/<layer>/<data set>/<percent>/<digest>/<method>."""
    parts = [path.split("/") for path in files]
    assert all(each[4].startswith("benchmark-") for each in parts)
    return {(each[3], each[5]) for each in parts}


# --- What a grid leaves ---------------------------------------------------------------------------


def test_every_trial_is_done_and_the_leaderboard_follows(done: tuple[Project, Outcome]) -> None:
    project, outcome = done
    assert outcome.exit_code == 0, outcome.stderr
    assert "4 of 4 trials are done" in outcome.stdout
    found = outcomes(project)
    assert {*found} == {(percent, method) for percent in PERCENTS for method in METHODS}
    for each in found.values():
        assert (each["status"], each["steps"], each["seeds"]) == ("done", 10, [0, 1])
    metrics = project.load("cmnist_mini_0_5pct.lff.metrics", benchmark=nested(TINY))
    assert (metrics["percent"], metrics["method"], metrics["seeds"]) == ("0.5pct", "lff", [0, 1])
    assert project.file(f"{LEADERBOARD}leaderboard.html/*/*.html").is_file()


@needs_chromium
@pytest.mark.parametrize("size", [PHONE, DESKTOP])
def test_the_leaderboard_is_shown_in_a_browser(
    done: tuple[Project, Outcome], size: tuple[int, int]
) -> None:
    project, _ = done
    leaderboard = project.file(f"{LEADERBOARD}leaderboard.html/*/*.html")
    with opened(leaderboard.as_uri(), size) as page:
        heads = page.locator("table th").all_inner_texts()
        for text in (*METHODS, *PERCENTS):
            assert any(head.startswith(text) for head in heads), text
        accuracy = project.load("cmnist_mini_2pct.lff.metrics", benchmark=nested(TINY))[
            "checkpoints"
        ]["last"]["accuracy"]
        page.wait_for_selector("html.ready")
        assert page.get_by_text(f"{100 * accuracy['mean']:.1f}").first.is_visible()
        page.get_by_label("Selection rule").select_option("best_on_test")
        bodies = page.locator("#cmnist_mini-accuracy tbody:visible")
        assert bodies.first.get_attribute("data-rule") == "best_on_test"
        for link in page.get_by_text("All results as a file").locator("a").all():
            assert (leaderboard.parent / (link.get_attribute("href") or "")).is_file()
        assert page.evaluate("document.documentElement.scrollWidth") == size[0]
        assert serious_barriers(page) == []


def test_a_trial_is_a_child_of_the_grids_mlflow_run(done: tuple[Project, Outcome]) -> None:
    project, _ = done
    runs = {run.info.run_name: run for run in project.mlflow_runs()}
    parent = runs.pop("benchmark")
    assert parent.data.tags["percent"] == "0.5pct,2pct"
    assert parent.data.tags["method"] == "vanilla,lff"
    assert parent.data.params["benchmark.percents"] == "['0.5pct', '2pct']"
    assert all(name.startswith("benchmark.") for name in parent.data.params)
    assert len(runs) == 4
    for (percent, method), outcome in outcomes(project).items():
        run = runs[f"cmnist_mini {percent}/{method}"]
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert run.info.run_id == outcome["mlflow_run_id"]
        assert (run.data.params["recipe.steps"], run.data.tags["percent"]) == ("10", percent)
        assert 0 <= run.data.metrics["last/accuracy"] <= 1
        assert run.info.status == "FINISHED"
        logged = project.path / "mlruns" / run.info.run_id / "artifacts"
        assert (logged / "figures/learning_curves.svg").is_file()
        assert (logged / "tables/group_accuracy.csv").is_file()


def test_a_trial_is_what_an_ordinary_run_of_the_same_settings_is(grid: Project) -> None:
    before = grid.results()
    params = {"recipe__steps": 10, "recipe__eval_every": 10, "seeds": 2, "device": "cpu"}
    assert grid.run("--pipeline=lff", **params).exit_code == 0
    ordinary = grid.load("lff.metrics", dataset="cmnist_mini")
    assert grid.load("cmnist_mini_2pct.lff.metrics", benchmark=nested(TINY)) == ordinary
    assert not [path for path in new_files(grid, before) if "benchmark-" in path]
    logged = grid.mlflow_runs()[0].data.params
    assert logged["recipe.steps"] == "10"
    assert not [name for name in logged if "cmnist_mini_" in name or "benchmark" in name]


# --- What is done again ---------------------------------------------------------------------------


def test_a_finished_grid_typed_again_only_makes_the_leaderboard(grid: Project) -> None:
    before = grid.results()
    pages = len(grid.files(f"{LEADERBOARD}leaderboard.html/*/*.html"))
    outcome = grid.run(GRID, AGAIN, **TINY)
    assert outcome.exit_code == 0, outcome.stderr
    assert not new_files(grid, before)
    assert len(grid.files(f"{LEADERBOARD}leaderboard.html/*/*.html")) == pages + 1


def test_trials_are_run_again_whose_settings_changed_or_that_lack_a_file(grid: Project) -> None:
    grid.file("06_models/cmnist_mini/2pct/benchmark-*/vanilla/**/checkpoint.safetensors").unlink()
    before = grid.results()
    # As every trial has its own digest, lff's results of before stay for who goes back.
    assert grid.run(GRID, AGAIN, **TINY, benchmark__overrides__lff__lr=0.001).exit_code == 0
    ran = trials_of(new_files(grid, before))
    assert ran == {("2pct", "vanilla"), ("0.5pct", "lff"), ("2pct", "lff")}


def test_a_killed_grid_typed_again_does_what_is_missing(bare: Project) -> None:
    # lff comes first by its name and is over soon.
    params = {**TINY, "benchmark__percents": "2pct", "benchmark__overrides__vanilla__steps": 100}
    command = bare.start_kedro(GRID, AGAIN, **params)
    try:
        wait_for(lambda: outcomes(bare), command)
    finally:
        command.send_signal(signal.SIGKILL)
        command.wait()
    assert {*outcomes(bare)} == {("2pct", "lff")}
    before = bare.results()
    outcome = bare.run(GRID, AGAIN, **params)
    assert outcome.exit_code == 0, outcome.stderr
    assert trials_of(new_files(bare, before)) == {("2pct", "vanilla")}
    assert "2 of 2 trials are done" in outcome.stdout


# --- References -----------------------------------------------------------------------------------


def test_saved_references_stand_for_trials_that_another_grid_did_not_run(grid: Project) -> None:
    typed = ",".join(f"{name.replace('__', '.')}={value}" for name, value in TINY.items())
    saved = grid.command("save-references", f"--params={typed}")
    assert saved.exit_code == 0, saved.stderr
    files = [*(grid.path / "docs/reference").iterdir()]
    assert len(files) == 4
    reference = json.loads(files[0].read_text())
    assert reference["command"].startswith("kedro run --pipelines=benchmark --params=")
    mine = {**TINY, "benchmark__methods": "lff"}
    outcome = grid.run("--pipeline=leaderboard", **mine)
    assert outcome.exit_code == 0, outcome.stderr
    assert "2 of 2 trials are done, 2 references" in outcome.stdout
    assert "Place of lff by mean, last: " in outcome.stdout
    newest = sorted(grid.files(f"{LEADERBOARD}leaderboard.html/*/leaderboard.html"))[-1].parent
    table = (newest / "tables/leaderboard.md").read_text()
    assert re.search(r"^\| vanilla \| none \| [\d.]+ ± [\d.]+ᴿ \|", table, re.M)
    assert "2pct lff reproduces its reference" in table
    assert (newest / "tables/leaderboard.tex").is_file()
    # With other settings there is nothing to save.
    missing = grid.command("save-references", f"--params={typed},benchmark.seed=5")
    assert missing.exit_code == 1
    assert "kedro run --pipeline=benchmark" in missing.stderr


# --- Trials that fail -----------------------------------------------------------------------------


def test_a_trial_that_fails_is_run_again(grid: Project) -> None:
    broken = {**TINY, "benchmark__overrides__vanilla__lr": 1e30}
    before = grid.results()
    for _ in range(2):
        outcome = grid.run(GRID, AGAIN, **broken)
        assert outcome.exit_code == 1
        (line,) = outcome.stderr.splitlines()[-1:]
        assert line.startswith("Error: 2 of 4 trials failed (cmnist_mini_0_5pct.vanilla, ")
        assert "2 of 4 trials are done, 2 failed" in outcome.stdout
    written = new_files(grid, before)
    assert {Path(path).name for path in written} == {"outcome.json"}
    assert len(written) == 4
    assert {run.info.status for run in grid.mlflow_runs()} == {"FINISHED", "FAILED"}


def test_data_that_cannot_be_made_fails_its_trials_and_the_rest_goes_on(bare: Project) -> None:
    params = {**ONE_TRIAL, "benchmark__datasets": "bffhq+cmnist_mini"}
    outcome = bare.run(GRID, AGAIN, **params)
    assert outcome.exit_code == 1
    assert "1 of 2 trials failed (bffhq_2pct.vanilla)" in outcome.stderr
    assert outcomes(bare)["2pct", "vanilla"]["status"] == "done"
    (failed,) = bare.files("08_reporting/bffhq/**/outcome.json")
    assert "data/01_raw" in json.loads(failed.read_text())["error"]
    # The data of the other is there, that of this one is tried again.
    before = bare.results()
    assert bare.run(GRID, AGAIN, **params).exit_code == 1
    assert all("bffhq" in path for path in new_files(bare, before))


def test_damaged_data_fails_its_trials(grid: Project) -> None:
    manifest = grid.file("03_primary/cmnist_mini/2pct/manifest.parquet")
    manifest.write_bytes(b"damaged")
    outcome = grid.run(GRID, AGAIN, **{**TINY, "benchmark__seeds": 1})
    assert outcome.exit_code == 1
    found = outcomes(grid)
    assert found["0.5pct", "lff"]["status"] == "done"
    assert "manifest.parquet" in found["2pct", "lff"]["error"]


# --- Choices --------------------------------------------------------------------------------------


def test_tags_choose_trials_and_their_data(bare: Project) -> None:
    outcome = bare.run(GRID, AGAIN, "--tags=lff", **TINY)
    assert outcome.exit_code == 0, outcome.stderr
    assert {*outcomes(bare)} == {("0.5pct", "lff"), ("2pct", "lff")}
    assert bare.file(f"{LEADERBOARD}leaderboard.html/*/*.html").is_file()


def test_a_namespace_chooses_one_trial(grid: Project) -> None:
    before = grid.results()
    outcome = grid.run(GRID, "--namespaces=cmnist_mini_0_5pct.lff", **TINY)
    assert outcome.exit_code == 0, outcome.stderr
    assert trials_of(new_files(grid, before)) == {("0.5pct", "lff")}


# --- Dry runs -------------------------------------------------------------------------------------


def test_a_dry_run_tells_and_does_nothing(grid: Project) -> None:
    before, runs = grid.results(), len(grid.mlflow_runs())
    outcome = grid.run(GRID, "--dry-run", **TINY, benchmark__overrides__lff__steps=20)
    assert outcome.exit_code == 0, outcome.stderr
    assert "4 trials: 2 done, 2 to do." in outcome.stdout
    assert outcome.stdout.count("about ") == 3
    assert grid.results() == before and len(grid.mlflow_runs()) == runs
    chosen = grid.run(GRID, "--dry-run", "--tags=0.5pct", **TINY)
    assert "2 trials: 2 done, 0 to do." in chosen.stdout


def test_a_dry_run_needs_no_data(bare: Project) -> None:
    params = {"benchmark__methods": "vanilla", "benchmark__percents": "2pct", "device": "cpu"}
    before = bare.results()
    outcome = bare.run(GRID, "--dry-run", benchmark__datasets="cmnist", **params)
    assert outcome.exit_code == 0, outcome.stderr
    assert "1 trial: 0 done, 1 to do." in outcome.stdout
    assert "Data to be made: cmnist_2pct." in outcome.stdout
    assert bare.results() == before


# --- What is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "params", "message"),
    [
        ([GRID], {"benchmark__methds": "lff"}, "Did you mean methods?"),
        ([GRID], {"benchmark__percents": "2"}, "write 2pct"),
        ([GRID], {"dataset": "cmnist"}, "--params benchmark.datasets=…"),
        ([GRID], {"recipe__steps": 5}, "--params benchmark.overrides=…"),
        ([GRID], {"pretrained": "x"}, "see conf/base/parameters_benchmark.yml"),
        ([GRID, "--dry-run"], {"seeds": 5}, "--params benchmark.seeds=…"),
        (["--pipeline=lff", "--dry-run"], {}, "--dry-run is for the grid"),
        ([GRID, "--tags=nothing"], {}, "contains no nodes"),
        (
            [GRID, "--namespaces=cmnist_mini_1pct.lff"],
            {"benchmark__percents": "1pct"},
            "--nodes=cmnist_mini_1pct.build_data",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    done: tuple[Project, Outcome], arguments: list[str], params: dict[str, Any], message: str
) -> None:
    project, _ = done
    before, runs = project.results(), len(project.mlflow_runs())
    outcome = project.run(*arguments, **params)
    assert outcome.exit_code == 1
    (line,) = outcome.stderr.splitlines()
    assert line.startswith("Error: ") and message in line
    assert project.results() == before and len(project.mlflow_runs()) == runs


# --------------------------------------------------------------------------------------------------


def nested(params: dict[str, Any]) -> dict[str, Any]:
    """What stands under `benchmark` when these are typed."""
    grid: dict[str, Any] = {}
    for name, value in params.items():
        first, *path, last = name.split("__") if "__" in name else (name, name)
        if first != "benchmark":
            continue
        place = grid
        for part in path:
            place = place.setdefault(part, {})
        place[last] = value
    return grid


def wait_for(what: Any, command: Any, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert command.poll() is None, "the command ended by itself"
        assert time.monotonic() < end, "nothing came of it"
        time.sleep(0.02)
