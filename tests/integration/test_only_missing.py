"""Results of other settings or other data: never shown as new, made again when asked for."""

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from throwaway_project import Outcome, Project, make_project

AGAIN = "--only-missing-outputs"
TINY: dict[str, Any] = {
    "dataset": "folder",
    "device": "cpu",
    "recipe__steps": 4,
    "recipe__eval_every": 2,
    "recipe__batch_size": 8,
    "recipe__network": "mlp",
}


def record(project: Project, method: str, setting: str = "cmnist_mini/2pct") -> dict[str, Any]:
    file = project.file(f"07_model_output/{setting}/{method}/training_record.json/*/*")
    return json.loads(file.read_text())


def trained_again(project: Project, before: dict[str, Any]) -> set[str]:
    """The methods with a new checkpoint."""
    new = project.results().keys() - before.keys()
    return {path.split("/")[-4] for path in new if path.endswith("checkpoint.safetensors")}


def said(outcome: Outcome) -> str:
    """What a run said, without the line breaks that a log handler puts in."""
    assert outcome.exit_code == 0, outcome.stdout + outcome.stderr
    return re.sub(r"\s+", " ", outcome.stdout + outcome.stderr)


# --- Other settings -------------------------------------------------------------------------------


def test_results_of_other_settings_are_neither_shown_nor_kept(
    project: Project, short_run: dict[str, Any], caplog
):
    params = {**short_run, "recipe__steps": 40, "recipe__eval_every": 40}
    before = project.results()
    text = said(project.run(AGAIN, **params)) + caplog.text
    assert trained_again(project, before) == {"vanilla", "disent"}
    assert "disent is trained again" in text
    assert "recipe.steps was 60 and is 40" in text
    new = project.results().keys() - before.keys()
    for name in ("metrics.json", "report.html", "predictions.parquet", "history.parquet"):
        assert sum(path.endswith(f"/{name}") for path in new) == 2
    assert any("comparison_report" in path for path in new)
    before = project.results()
    said(project.run(AGAIN, **params))
    assert trained_again(project, before) == set()


# --- Other data -----------------------------------------------------------------------------------


def write_photos(raw_dir: Path, classes: tuple[str, ...] = ("cat", "dog"), each: int = 30) -> Path:
    for number, name in enumerate(classes):
        (raw_dir / name).mkdir(parents=True, exist_ok=True)
        for i in range(each):
            Image.new("RGB", (8, 8), (number * 60, i, 9)).save(raw_dir / name / f"{i}.png")
    return raw_dir


@pytest.fixture(scope="module")
def photos_done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, Path]:
    folder = tmp_path_factory.mktemp("photos")
    project, raw_dir = make_project(folder / "project"), write_photos(folder / "photos")
    said(project.run("--pipeline=vanilla", **TINY, raw_dir=raw_dir))
    return project, raw_dir


@pytest.fixture
def photos(photos_done: tuple[Project, Path], tmp_path: Path) -> Project:
    project = make_project(tmp_path / "project")
    shutil.copytree(photos_done[0].path / "data", project.path / "data", dirs_exist_ok=True)
    return project


def params_of(photos_done: tuple[Project, Path], **more: Any) -> dict[str, Any]:
    return {**TINY, "raw_dir": str(photos_done[1]), **more}


def touch(path: Path) -> None:
    state = path.stat()
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns + 1_000_000_000))


@pytest.fixture
def changed(photos_done: tuple[Project, Path]):
    """A photo of another colour, and as it was after the test."""
    path = photos_done[1] / "cat" / "0.png"
    content, state = path.read_bytes(), path.stat()
    Image.new("RGB", (8, 8), (255, 255, 0)).save(path)
    touch(path)
    yield path
    path.write_bytes(content)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


def test_changed_photos_are_read_and_trained_on_again(
    photos_done, photos: Project, changed: Path, caplog
):
    before = photos.results()
    text = said(photos.run("--pipeline=vanilla", AGAIN, **params_of(photos_done)))
    assert "raw data has changed" in text + caplog.text
    assert trained_again(photos, before) == {"vanilla"}
    assert any("report.html" in path for path in photos.results().keys() - before.keys())
    card = json.loads(photos.file("03_primary/folder/*/data_card.json").read_text())
    assert record(photos, "vanilla", "folder/*")["data"]["content_hash"] == card["content_hash"]
    before = photos.results()
    said(photos.run("--pipeline=vanilla", AGAIN, **params_of(photos_done)))
    assert trained_again(photos, before) == set()


def test_what_was_trained_on_other_data_is_not_used(
    photos_done, photos: Project, changed: Path, caplog
):
    params = params_of(photos_done)
    said(photos.run("--pipeline=evaluation", **params))
    assert f"raw data of {changed.parent.parent.name} has changed" in caplog.text
    said(photos.run("--pipeline=ingestion", **params))
    before = photos.results()
    outcome = photos.run("--pipeline=evaluation", **params)
    assert outcome.exit_code == 1
    assert "vanilla was trained on other data" in outcome.stderr
    assert "train again" in outcome.stderr
    assert photos.results() == before


# --- In the grid ----------------------------------------------------------------------------------


def grid_of(photos_done: tuple[Project, Path], **more: Any) -> dict[str, Any]:
    overrides = {
        name.replace("recipe__", "benchmark__overrides__"): value
        for name, value in TINY.items()
        if name.startswith("recipe")
    }
    return {
        **overrides,
        "device": "cpu",
        "raw_dir": str(photos_done[1]),
        "benchmark__datasets": "folder",
        "benchmark__methods": "vanilla",
        "benchmark__percents": "2pct",
        **more,
    }


def test_changed_photos_change_what_counts_as_done_in_the_grid(
    photos_done, photos: Project, request: pytest.FixtureRequest
):
    grid = ("--pipeline=benchmark", AGAIN)
    params = grid_of(photos_done)
    said(photos.run(*grid, **params))
    before = photos.results()
    said(photos.run(*grid, **params))
    assert trained_again(photos, before) == set()
    request.getfixturevalue("changed")
    assert "1 to do" in said(photos.run("--pipeline=benchmark", "--dry-run", **params))
    said(photos.run("--pipeline=ingestion", **params_of(photos_done)))
    outcome = photos.run("--pipeline=leaderboard", **params)
    assert "No trial of the grid was run" in outcome.stderr
    said(photos.run(*grid, **params))
    assert trained_again(photos, before) == {"vanilla"}
