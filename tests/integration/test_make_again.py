"""The commands that pages print make the same pages again from the same raw data."""

import html
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from throwaway_project import Outcome, Project, make_project

pytestmark = pytest.mark.slow

RAW_DIR = "my photos"
ENV = "elsewhere"


@pytest.fixture(scope="module")
def projects(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, Project]:
    """Two projects with the same photos and the same environment."""
    folder = tmp_path_factory.mktemp("again")
    first, second = (make_project(folder / name / "project") for name in ("first", "second"))
    _write_photos(first.path / RAW_DIR)
    environment = first.path / "conf" / ENV
    environment.mkdir()
    (environment / "parameters.yml").write_text("seeds: 2\nseed: 5\n")
    (environment / "parameters_benchmark.yml").write_text("benchmark: {seeds: 2, seed: 5}\n")
    for name in (RAW_DIR, f"conf/{ENV}"):
        shutil.copytree(first.path / name, second.path / name)
    return first, second


def _write_photos(folder: Path) -> None:
    """60 photos: the brightness is the label, the colour goes with it in most of them."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    rows = []
    for i in range(60):
        label = i % 2
        bias = 1 - label if i % 10 < 2 else label
        pixels = rng.integers(0, 90, (20, 24, 3), dtype=np.uint8)
        pixels[..., 2 * bias] += 90
        pixels[5:10] += np.uint8(60 * label)
        Image.fromarray(pixels).save(folder / f"{i}.png")
        rows.append({"path": f"{i}.png", "label": f"l{label}", "bias": f"b{bias}"})
    pd.DataFrame(rows).to_csv(folder / "table.csv", index=False)


def checked(outcome: Outcome) -> None:
    assert outcome.exit_code == 0, outcome.stdout + outcome.stderr


def commands(page: str) -> list[list[str]]:
    (printed,) = re.findall("<pre><code>(.*?)</code></pre>", page, re.S)
    return [shlex.split(line) for line in html.unescape(printed).splitlines()]


def run_printed(project: Project, page: str) -> None:
    for kedro, *arguments in commands(page):
        assert kedro == "kedro"
        checked(project.command(*arguments))


def page(project: Project, pattern: str) -> str:
    return project.file(f"08_reporting/{pattern}/*/*.html").read_text("utf-8")


def test_reports_of_own_photos(projects: tuple[Project, Project]) -> None:
    first, second = projects
    params = {
        "dataset": "folder",
        "raw_dir": RAW_DIR,
        "image_size": 12,
        "data_seed": 3,
        "device": "cpu",
        "threads": 1,
        "precision": "bf16",
        "recipe__network": "mlp",
        "recipe__steps": 6,
        "recipe__eval_every": 3,
        "recipe__batch_size": 8,
        "recipe__swap_start": 2,
        "recipe__optimiser": "sgd",
    }
    checked(first.run(f"--env={ENV}", **params))
    comparison = page(first, "folder/*/comparison_report.html")
    assert "on my photos</h1>" in comparison
    assert "2pct" not in comparison
    run_printed(second, comparison)
    for name in ("comparison_report.html", "vanilla/report.html", "disent/report.html"):
        made, again = (without_times(page(each, f"folder/*/{name}")) for each in (first, second))
        assert again == made
    assert [commands(page(first, f"folder/*/{each}/report.html"))[0] for each in METHODS] == (
        commands(comparison)[:2]
    )
    tags = [run.data.tags for run in first.mlflow_runs()]
    assert all("percent" not in each and each["data"] == RAW_DIR for each in tags)


METHODS = ("vanilla", "disent")


def test_a_leaderboard_with_overrides(projects: tuple[Project, Project]) -> None:
    first, second = projects
    params = {
        "benchmark__datasets": "cmnist_mini+folder",
        "benchmark__percents": "5pct",
        "benchmark__methods": "vanilla+disent",
        "benchmark__data_options__folder__image_size": 12,
        "benchmark__overrides__network": "mlp",
        "benchmark__overrides__steps": 6,
        "benchmark__overrides__eval_every": 3,
        "benchmark__overrides__batch_size": 8,
        "benchmark__overrides__disent__swap_start": 2,
        "raw_dir": RAW_DIR,
        "device": "cpu",
    }
    checked(first.run("--pipeline=benchmark", f"--env={ENV}", **params))
    made = page(first, "benchmark/leaderboard.html")
    assert "<h2>my photos</h2>" in made
    assert "steps 6 instead of 4000" in made
    run_printed(second, made)
    assert without_times(page(second, "benchmark/leaderboard.html")) == without_times(made)


def without_times(text: str) -> str:
    """The page without durations, memory, its footer and addresses of MLflow runs."""
    text = re.sub(r"<footer>.*</footer>", "", text, flags=re.S)
    # The keys by which a table sorts; those of other columns are the cell's own text.
    text = re.sub(r' data-value="[^"]*"', "", text)
    text = re.sub(r"[0-9.,]+ (h|min|s|MiB|GiB)\b", "", text)
    return re.sub(r"/runs/\w+", "", text)


def test_remedies_can_be_typed(projects: tuple[Project, Project], tmp_path: Path) -> None:
    project = make_project(tmp_path / "project")
    shutil.copytree(projects[0].path / RAW_DIR, project.path / RAW_DIR)
    params = {
        "dataset": "folder",
        "raw_dir": RAW_DIR,
        "image_size": 12,
        "recipe__network": "mlp",
        "recipe__steps": 2,
        "recipe__batch_size": 8,
    }
    # First the data set is missing, then the checkpoints.
    for pipeline in ("training", "evaluation"):
        outcome = project.run(f"--pipeline={pipeline}", **params)
        assert outcome.exit_code != 0
        _, remedy = outcome.stderr.split("run this first: kedro ")
        checked(project.command(*shlex.split(remedy)))
    checked(project.run("--pipeline=evaluation", **params))
