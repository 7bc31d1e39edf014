"""CONTRIBUTING.md's example of a method, followed literally: one file, one recipe file."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from throwaway_project import CHECKOUT, Project, make_project

GUIDE = (CHECKOUT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("## Add a data set")[0]
# The tests that are named there, and what they need.
TESTS = ("tests/training", "tests/recipe_fields.py")


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy of the project, code and tests included, with the example's two steps taken."""
    project = make_project(tmp_path_factory.mktemp("contributing") / "project")
    without = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in ("src", *TESTS):
        source, target = CHECKOUT / name, project.path / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=without, dirs_exist_ok=True)
        else:
            shutil.copy(source, target)
    take_steps(project.path)
    return project


def take_steps(folder: Path) -> None:
    (method_file,) = re.findall(r"^1\. `(src/debias_pipeline/methods/\w+\.py)`:$", GUIDE, re.M)
    (recipe_file,) = re.findall(r"^2\. `(conf/base/parameters_recipes/\w+\.yml)`", GUIDE, re.M)
    for file, language in ((method_file, "python"), (recipe_file, "yaml")):
        assert not (folder / file).exists()
        (folder / file).write_text(block(language), encoding="utf-8")


def block(language: str) -> str:
    (text,) = re.findall(rf"^```{language}\n(.*?)^```$", GUIDE, re.M | re.S)
    return str(text)


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
    (command,) = re.findall(r"^pytest (tests/training -k \w+) ", block("sh"), re.M)
    outcome = python(followed, "-m", "pytest", "-q", "-p", "no:cacheprovider", *command.split())
    assert outcome.returncode == 0, outcome.stdout
    passed = re.search(r"(\d+) passed", outcome.stdout)
    assert passed and int(passed[1]) >= 10


def test_it_is_trained_judged_and_reported(followed: Project, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PYTHONPATH", str(followed.path / "src"))
    outcome = followed.kedro("--pipeline=hard", recipe__steps=20, recipe__eval_every=10, seeds=2)
    assert outcome.exit_code == 0, outcome.stdout + outcome.stderr
    metrics = followed.file("08_reporting/**/hard/metrics.json/**/metrics.json").read_text()
    assert '"method": "hard"' in metrics
    report = followed.file("08_reporting/**/hard/report.html/**/report.html").read_text()
    assert "<title>hard on cmnist_mini" in report
    assert '<th scope="row">power</th><td>0.5</td>' in report


def test_it_is_written_as_all_code_here_is(followed: Project):
    files = ["src/debias_pipeline/methods"]
    for check in (["check"], ["format", "--check"]):
        outcome = python(followed, "-m", "ruff", *check, *files)
        assert outcome.returncode == 0, outcome.stdout
