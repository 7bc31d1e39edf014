"""`kedro run --pipeline=audit`, from images to the verdict."""

import html
import json
import signal
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from run_notebook import PHOTOS, executed, pictures, tables_of, text
from throwaway_project import Outcome, Project, make_project

SHORT = {"device": "cpu", "threads": 1, "recipe__network": "mlp", "recipe__steps": 40}
FOLDER = "08_reporting/folder/*/audit"


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos of two classes; the names of some are formulas or markup."""
    folder, random = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for label in ("cow", "camel"):
        for number in range(60):
            name = {0: "=1+1.png", 1: "<b>.png"}.get(number, f"{number:02d}.png")
            path = folder / label / name
            path.parent.mkdir(exist_ok=True)
            pixels = random.integers(0, 120, (24, 24, 3), dtype=np.uint8)
            pixels[..., 0 if label == "cow" else 1] += 100
            Image.fromarray(pixels).save(path)
        (folder / label / "@eaDir").mkdir()
        (folder / label / "@eaDir" / "0.jpg").touch()
    return folder


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return make_project(tmp_path_factory.mktemp("audit") / "project")


@pytest.fixture(scope="module")
def outcome(project: Project, photos: Path) -> Outcome:
    done = project.run("--pipeline=audit", dataset="folder", raw_dir=photos, **SHORT)
    assert done.exit_code == 0, done.stdout + done.stderr
    return done


def test_it_says_what_it_found_how_long_it_takes_and_what_the_verdict_is(
    outcome: Outcome, project: Project
) -> None:
    said = " ".join(outcome.stdout.split())
    assert "120 images" in said and "cow 60" in said
    assert "Left out 2 of 122 files" in said and "2 made by the system" in said
    assert said.count("Left out") == 1
    assert "budget=10min" in said
    verdict = json.loads(project.file(f"{FOLDER}/verdict.json/*/verdict.json").read_text())
    assert verdict["sentence"] in said
    assert verdict["bias_branch"]["images"] == verdict["against"]["images"] == 84


def test_every_image_of_every_split_is_a_row_of_suspects(
    outcome: Outcome, project: Project
) -> None:
    table = pd.read_csv(project.file(f"{FOLDER}/suspects.csv"), keep_default_na=False)
    assert list(table) == [
        "rank", "file", "split", "label", "bias", "weight", "prediction", "confidence",
        "bias_prediction",
    ]  # fmt: skip
    assert list(table["rank"]) == list(range(1, 121))
    assert table["weight"].is_monotonic_decreasing and table["weight"].between(0, 1).all()
    assert set(table["split"]) == {"train", "valid", "test"}
    assert set(table["prediction"]) <= {"cow", "camel"}
    assert set(table["bias"]) == {""}
    weights = project.load("audit.sample_weights", dataset="folder", raw_dir=_raw_dir(project))
    of_train = table[table["split"] == "train"]["weight"]
    assert sorted(of_train) == pytest.approx(sorted(weights["weight"]), abs=1e-6)


def _raw_dir(project: Project) -> str:
    # The parameters of the latest run are in MLflow.
    return str(project.mlflow_runs()[0].data.params["raw_dir"])


def test_the_page_shows_images_with_escaped_names(outcome: Outcome, project: Project) -> None:
    page = project.file(f"{FOLDER}/report.html/*/report.html").read_text()
    # 16 images of two labels, four images that are explained, and perhaps mean images.
    assert page.count("<li data-label=") == 2 * 16
    assert page.count('alt="Where the bias branch looks in ') == 4
    assert "<b>.png" not in page


def test_the_notebook_shows_verdict_files_and_predictions(
    outcome: Outcome, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw_dir = _raw_dir(project)
    [notebook] = executed(PHOTOS, project.path, monkeypatch, {"RAW_DIR": raw_dir})
    params = {"dataset": "folder", "raw_dir": raw_dir}
    assert project.load("audit.verdict", **params)["sentence"] in text(notebook)
    suspects, predicted = tables_of(notebook)
    first = project.load("audit.suspects", **params)["file"][:24]
    assert all(html.escape(name) in suspects for name in first)
    assert pictures(notebook) == 1
    assert "prediction" in predicted and "confidence" in predicted


def test_a_few_labels_give_group_accuracies(outcome: Outcome, project: Project, tmp_path) -> None:
    params = {"dataset": "folder", "raw_dir": _raw_dir(project)}
    to_label = project.load("audit.to_label", **params)
    assert list(to_label) == ["file", "split", "label", "bias"] and len(to_label) == 20
    assert set(to_label["split"]) == {"valid", "test"} and set(to_label["bias"]) == {""}
    before = project.files("06_models/folder/**/*.safetensors")
    filled = tmp_path / "filled.csv"
    again = ("--pipeline=audit", "--from-nodes=audit.estimate_from_labels")

    to_label.assign(bias=["aligned", "conflicting"] * 10).to_csv(filled, index=False)
    done = project.run(*again, **params, **SHORT, bias_labels=filled)
    assert done.exit_code == 0, done.stderr
    said = " ".join(done.stdout.split())
    assert "20 images with a bias label" in said and "of 10 right" in said
    assert before == project.files("06_models/folder/**/*.safetensors")
    page = project.file(f"{FOLDER}/report.html/*/report.html").read_text()
    assert "20 images with a bias label" in page and "of 10 right" in page

    to_label.assign(file="none.png", bias="aligned").to_csv(filled, index=False)
    refused = project.run(*again, **params, **SHORT, bias_labels=filled)
    assert refused.exit_code == 1
    assert "none.png" in refused.stderr and len(refused.stderr.strip().splitlines()) == 1


def test_labels_that_cannot_be_read_are_refused_before_training(
    outcome: Outcome, project: Project, photos: Path
) -> None:
    params = {"dataset": "folder", "raw_dir": photos, "bias_labels": "nowhere.csv"}
    refused = project.run("--pipeline=audit", **params, **SHORT)
    assert refused.exit_code == 1 and "bias_labels=nowhere.csv" in refused.stderr
    assert "steps" not in refused.stdout


def test_its_model_predicts_new_images(outcome: Outcome, project: Project, photos: Path) -> None:
    (model,) = {
        path.parents[2] for path in project.files("06_models/folder/*/audit/**/*.safetensors")
    }
    done = project.run("--pipeline=predict", model=model, images=photos / "cow")
    assert done.exit_code == 0, done.stderr
    table = pd.read_csv(project.file("08_reporting/predict/predictions.csv"))
    assert len(table) == 60


def test_a_budget_that_is_no_time_is_refused(project: Project, photos: Path) -> None:
    done = project.run("--pipeline=audit", dataset="folder", raw_dir=photos, budget="soon")
    assert done.exit_code == 1
    assert "budget=soon" in done.stderr and "10min" in done.stderr


def test_an_audit_that_was_killed_continues_with_its_recipe(photos: Path, tmp_path: Path) -> None:
    project, log = make_project(tmp_path / "project"), tmp_path / "log"
    # The budget gives few steps; to choose them again would give another number.
    params = {"dataset": "folder", "raw_dir": photos, "recipe__network": "mlp", "budget": "2s"}
    process = project.start_kedro("--pipeline=audit", output=log, **params)
    while not project.files("06_models/folder/*/audit/snapshots/*/*.safetensors"):
        assert process.poll() is None, log.read_text()
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = project.run("--pipeline=audit", **params)
    assert done.exit_code == 0, done.stderr
    said = " ".join(done.stdout.split())
    assert "Continuing an interrupted audit" in said and "continues after step" in said
    assert not project.files("06_models/folder/*/audit/snapshots/*/*.safetensors")
