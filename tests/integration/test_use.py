"""A model that kedro run trained is used from the command line."""

import shutil
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
import pytest
from click.testing import CliRunner
from PIL import Image
from test_errors import told_in_one_line, unchanged
from throwaway_project import Project

from debias_pipeline.cli import cli

MODEL = "data/06_models/cmnist_mini/2pct/disent"
SOME = 12


@pytest.fixture(scope="module")
def project(trained_project: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    return trained_project.copy(tmp_path_factory.mktemp("used") / "project")


@pytest.fixture(scope="module")
def photos(project: Project) -> pd.DataFrame:
    """Test images as files, and what evaluation predicted for them."""
    manifest, images = project.load("manifest"), project.load("images")
    rows = manifest[manifest["split"] == "test"].head(SOME)
    folder = project.path / "photos"
    folder.mkdir()
    for image_id in rows["image_id"]:
        Image.fromarray(np.asarray(images[image_id])).save(folder / f"{image_id:05}.png")
    predictions = project.load("disent.predictions")
    chosen = predictions[(predictions["checkpoint"] == "last") & (predictions["seed"] == 1)]
    return chosen[chosen["image_id"].isin(rows["image_id"])].sort_values("image_id")


@pytest.mark.parametrize("place", ["folder", "MLflow run"])
def test_new_images_are_predicted_as_in_evaluation(
    project: Project, photos: pd.DataFrame, place: str
) -> None:
    runs = {run.data.tags.get("method"): run.info.run_id for run in project.mlflow_runs()}
    model = MODEL if place == "folder" else f"runs:/{runs['disent']}/model"
    done = project.run("--pipeline=predict", model=model, images="photos", model_seed=1)
    assert done.exit_code == 0, done.stdout + done.stderr
    assert "data/08_reporting/predict/predictions.csv" in done.stdout
    table = pd.read_csv(project.file("08_reporting/predict/predictions.csv"))
    assert list(table["file"]) == [f"{image_id:05}.png" for image_id in photos["image_id"]]
    assert list(table["prediction"]) == list(photos["prediction"])
    run = project.mlflow_runs()[0]
    assert run.info.status == "FINISHED"
    assert "dataset" not in run.data.tags


def test_a_model_is_loaded_from_a_store_that_only_mlflow_yml_names(
    project: Project, photos: pd.DataFrame, tmp_path: Path
) -> None:
    other = project.copy(tmp_path / "project")
    runs = {run.data.tags.get("method"): run.info.run_id for run in other.mlflow_runs()}
    (other.path / "mlflow.db").rename(other.path / "runs.db")
    (other.path / "conf/local").mkdir(exist_ok=True)
    (other.path / "conf/local/mlflow.yml").write_text(
        "server: {mlflow_tracking_uri: sqlite:///runs.db}"
    )
    # Kedro finds the project from any folder in it, where MLflow has no store of its own.
    done = other.run(
        "--pipeline=predict",
        start_in="data",
        model=f"runs:/{runs['disent']}/model",
        images=other.path / "photos",
    )
    assert done.exit_code == 0, done.stdout + done.stderr
    assert len(pd.read_csv(other.file("08_reporting/predict/predictions.csv"))) == SOME
    assert not [*other.path.rglob("mlflow.db")]


@pytest.mark.parametrize(
    ("params", "what"),
    [
        ({"images": "photos"}, "model"),
        ({"model": MODEL}, "images"),
        ({"model": "nowhere", "images": "photos"}, "nowhere"),
        ({"model": MODEL, "images": "nowhere"}, "nowhere"),
        ({"model": MODEL, "images": "photos", "rule": "best"}, "best_on_test"),
        ({"model": MODEL, "images": "photos", "model_seed": 7}, "0, 1"),
    ],
)
def test_what_is_missing_is_said_in_one_line(
    project: Project, photos: pd.DataFrame, params: dict[str, str], what: str
) -> None:
    with unchanged(project):
        line = told_in_one_line(project.run("--pipeline=predict", **params))
    assert what in line


def test_an_exported_model_agrees_with_the_table(project: Project, photos: pd.DataFrame) -> None:
    file = project.path / "model.onnx"
    arguments = ["--model", str(project.path / MODEL), "--to", str(file)]
    done = CliRunner().invoke(cli, ["export-model", *arguments])
    assert done.exit_code == 0, done.output
    assert "28 x 28" in done.output
    project.run("--pipeline=predict", model=MODEL, images="photos")
    table = pd.read_csv(project.file("08_reporting/predict/predictions.csv"))
    pixels = [np.asarray(Image.open(project.path / "photos" / name)) for name in table["file"]]
    session = onnxruntime.InferenceSession(file)
    (found,) = session.run(None, {"images": np.stack(pixels)})
    expected = table.filter(like="probability_").to_numpy()
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_a_broken_image_is_named_and_nothing_is_written(
    project: Project, photos: pd.DataFrame, tmp_path: Path
) -> None:
    folder = shutil.copytree(project.path / "photos", tmp_path / "photos")
    (folder / "broken.png").write_bytes(b"no image")
    with unchanged(project):
        line = told_in_one_line(project.run("--pipeline=predict", model=MODEL, images=folder))
    assert "broken.png" in line
