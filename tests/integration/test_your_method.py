"""The examples of docs/your_method.md and docs/your_data_set.md, followed literally."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from throwaway_project import CHECKOUT, Project, make_project

GUIDE = (CHECKOUT / "docs/your_method.md").read_text(encoding="utf-8")
DATA_GUIDE = (CHECKOUT / "docs/your_data_set.md").read_text(encoding="utf-8")
# The tests that are named there, and what they need.
TESTS = ("tests/training", "tests/recipe_fields.py")


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy of the project, code and tests included, with the steps of both examples taken."""
    project = make_project(tmp_path_factory.mktemp("contributing") / "project")
    without = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in ("src", *TESTS):
        source, target = CHECKOUT / name, project.path / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=without, dirs_exist_ok=True)
        else:
            shutil.copy(source, target)
    add_method(project.path)
    add_data_set(project.path)
    return project


def add_method(folder: Path) -> None:
    (method_file,) = re.findall(r"Write `(src/debias_pipeline/methods/\w+\.py)`:$", GUIDE, re.M)
    (recipe_file,) = re.findall(r"Write `(conf/base/parameters_recipes/\w+\.yml)`:$", GUIDE, re.M)
    for file, language in ((method_file, "python"), (recipe_file, "yaml")):
        assert not (folder / file).exists()
        (folder / file).write_text(block(GUIDE, language), encoding="utf-8")


def add_data_set(folder: Path) -> None:
    (file,) = re.findall(
        r"^1\. `(src/debias_pipeline/biased_data/sets/\w+\.py)`:$", DATA_GUIDE, re.M
    )
    assert not (folder / file).exists()
    (folder / file).write_text(block(DATA_GUIDE, "python"), encoding="utf-8")
    (place,) = re.findall(r"^2\. `(conf/\S+\.yml)`, below `(\w+:)`:$", DATA_GUIDE, re.M)
    recipes, above = folder / place[0], f"\n{place[1]}\n"
    before, after = recipes.read_text(encoding="utf-8").split(above)
    recipes.write_text(before + above + block(DATA_GUIDE, "yaml") + after, encoding="utf-8")


def block(guide: str, language: str) -> str:
    (text,) = re.findall(rf"^```{language}\n(.*?)^```$", guide, re.M | re.S)
    return str(text)


def commands() -> str:
    """The commands of the page, each on one line."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", GUIDE, re.M | re.S)
    return "".join(blocks).replace("\\\n", "")


def python(project: Project, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=project.path,
        env={**os.environ, "PYTHONPATH": str(project.path / "src")},
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_what_is_promised_of_every_method_is_tested_of_a_new_one(followed: Project):
    (command,) = re.findall(r"^pytest (tests/training -k \w+)$", commands(), re.M)
    outcome = python(followed, "-m", "pytest", "-q", "-p", "no:cacheprovider", *command.split())
    assert outcome.returncode == 0, outcome.stdout
    passed = re.search(r"(\d+) passed", outcome.stdout)
    assert passed and int(passed[1]) >= 10


def test_one_command_trains_it_and_prints_its_place_among_references(
    followed: Project, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PYTHONPATH", str(followed.path / "src"))
    shutil.copytree(CHECKOUT / "docs/reference", followed.path / "docs/reference")
    (command,) = re.findall(r"^kedro run (--pipeline=benchmark) +--params (\S+)$", commands(), re.M)
    pipeline, typed = command
    params = dict(each.split("=") for each in typed.split(","))
    assert len(params["benchmark.percents"].split("+")) == 4
    # The same, but shorter.
    params |= {"benchmark.percents": "0.5pct+2pct", "benchmark.overrides.steps": "10"}
    outcome = followed.kedro(pipeline, **params, **{"benchmark.overrides.eval_every": 10})
    assert outcome.exit_code == 0, outcome.stdout + outcome.stderr
    place = re.search(r"Place of hard by mean, last: (.*)", outcome.stdout)
    assert place
    assert re.fullmatch(r"\d of \d+ at 0\.5pct, \d of \d+ at 2pct\s*", place[1])
    for name in ("leaderboard.md", "leaderboard.tex"):
        table = followed.file(f"08_reporting/benchmark/leaderboard.html/*/tables/{name}")
        assert str(table.parent.relative_to(followed.path)) in outcome.stdout
        rows = re.findall(r"^(?:\| )?(hard|vanilla) [&|]", table.read_text(), re.M)
        assert {*rows} == {"hard", "vanilla"}
    record = followed.file("07_model_output/**/hard/training_record.json/**/training_record.json")
    assert '"power": 0.5' in record.read_text()


def test_a_method_is_trained_on_a_new_data_set(followed: Project, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PYTHONPATH", str(followed.path / "src"))
    typed = r"^kedro run (--pipeline=\w+) --params (\S+)$"
    ((pipeline, params),) = re.findall(typed, block(DATA_GUIDE, "sh"), re.M)
    outcome = followed.kedro(pipeline, **dict(each.split("=") for each in params.split(",")))
    assert outcome.exit_code == 0, outcome.stdout + outcome.stderr
    path = followed.file("08_reporting/squares/**/metrics.json/**/metrics.json")
    metrics = json.loads(path.read_text(encoding="utf-8"))
    assert (metrics["dataset"], metrics["bias_name"]) == ("squares", "position")
    assert metrics["checkpoints"]["last"]["aligned_accuracy"]["mean"] > 0.9


def test_it_is_written_as_all_code_here_is(followed: Project):
    files = ["src/debias_pipeline/methods", "src/debias_pipeline/biased_data/sets"]
    for check in (["check"], ["format", "--check"]):
        outcome = python(followed, "-m", "ruff", *check, *files)
        assert outcome.returncode == 0, outcome.stdout
