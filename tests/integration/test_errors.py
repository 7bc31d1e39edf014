"""Invalid input gives one line that names the fix, and leaves earlier results untouched."""

import json
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from throwaway_project import Outcome, Project, make_project

# What Kedro would say of a failed node; none of it helps whoever mistyped a parameter.
NOISE = ("Traceback", "Error", "WARNING", "failed", "resume")

WRONG_PARAMETERS = {
    "unknown dataset": ({"dataset": "cmnist_min"}, ["Did you mean cmnist_mini?", "cmnist, "]),
    "unknown recipe field": ({"recipe__lamda_dis": 2}, ["lamda_dis", "Did you mean lambda_dis"]),
    "unknown parameter": ({"datset": "cmnist"}, ["datset", "Did you mean dataset", "raw_dir"]),
    "negative steps": ({"recipe__steps": -5}, ["recipe.steps=-5", "greater than 0"]),
    "unknown network": ({"recipe__network": "vgg"}, ["recipe.network='vgg'", "mlp"]),
    "recipe is a number": ({"recipe": 3}, ["recipe must be a mapping, got 3"]),
    "seed beyond 32 bits": ({"seed": 10**20}, ["seed=100000000000000000000", "less than"]),
}  # fmt: skip


@pytest.fixture(scope="module")
def shared(trained_project: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A trained project on which commands fail; that they change nothing lets tests share it."""
    return trained_project.copy(tmp_path_factory.mktemp("errors") / "project")


@pytest.fixture
def refusal(shared: Project) -> Callable[..., str]:
    """A function that runs a command on `shared`, which must refuse; returns what it says."""

    def refuse(*arguments: str, **params: Any) -> str:
        with unchanged(shared):
            return told_in_one_line(shared.run(*arguments, **params))

    return refuse


@contextmanager
def unchanged(project: Project) -> Iterator[None]:
    """Earlier results stay what they are, and no tracked run is left open."""
    before = project.results()
    assert any(name.endswith("checkpoint.safetensors") for name in before)
    yield
    assert project.results() == before
    assert "RUNNING" not in {run.info.status for run in project.mlflow_runs()}


def told_in_one_line(outcome: Outcome) -> str:
    assert outcome.exit_code != 0
    assert not [word for word in NOISE if word in outcome.stdout], outcome.stdout
    (line,) = outcome.stderr.splitlines()
    assert line.startswith("Error: ")
    return line.removeprefix("Error: ")


@pytest.mark.parametrize("case", WRONG_PARAMETERS)
def test_a_wrong_parameter(case: str, refusal: Callable[..., str], shared: Project):
    params, parts = WRONG_PARAMETERS[case]
    runs = len(shared.mlflow_runs())
    message = refusal(**params)
    assert not [part for part in parts if part not in message], message
    assert len(shared.mlflow_runs()) == runs, "refused before a run is tracked"


def test_several_params_options_are_merged(refusal: Callable[..., str]):
    message = refusal("--params=recipe.steps=-5,seed=1", "--params=recipe.lr=-0.1,seed=2")
    assert "recipe.steps=-5" in message
    assert "recipe.lr=-0.1" in message


def test_of_a_parameter_given_twice_the_last_value_counts(refusal: Callable[..., str]):
    message = refusal("--params=seeds=1,percent=abc", "--params=percent=def")
    assert "percent='def'" in message


@pytest.mark.parametrize("params", ["percent=abc", {"percent": "abc"}], ids=["text", "mapping"])
def test_params_of_a_config_file(params: object, refusal: Callable[..., str], tmp_path: Path):
    (tmp_path / "run.yml").write_text(json.dumps({"run": {"params": params}}))
    assert "percent='abc'" in refusal(f"--config={tmp_path / 'run.yml'}")


def test_a_recipe_field_of_another_method(refusal: Callable[..., str]):
    message = refusal("--pipeline=vanilla", recipe__lambda_dis=2)
    assert "Unknown recipe field 'lambda_dis'" in message
    assert "batch_size" in message


@pytest.mark.parametrize("case", ["of a method", "of a grid"])
def test_weights_that_are_missing(case: str, refusal: Callable[..., str], shared: Project):
    runs = len(shared.mlflow_runs())
    fields = {"network": "resnet18", "weights": "nowhere.pth"}
    if case == "of a method":
        params = {f"recipe__{name}": value for name, value in fields.items()}
        message = refusal("--pipeline=vanilla", **params)
        assert "recipe.weights=nowhere.pth" in message
    else:
        params = {f"benchmark__overrides__{name}": value for name, value in fields.items()}
        message = refusal("--pipeline=benchmark", **params)
        assert "benchmark.overrides.weights=nowhere.pth" in message
    assert "no such file" in message
    assert len(shared.mlflow_runs()) == runs, "refused before a run is tracked"


def test_a_decay_without_its_schedule(refusal: Callable[..., str]):
    assert "recipe.schedule=step" in refusal("--pipeline=vanilla", recipe__gamma=0.5)


@pytest.mark.parametrize("option", ["--pipeline=disnet", "--pipelines=ingestion,disnet"])
def test_an_unknown_pipeline(option: str, refusal: Callable[..., str]):
    message = refusal(option)
    assert "'disnet'" in message
    assert "Did you mean disent?" in message
    for name in ("ingestion", "training", "evaluation", "reporting", "vanilla", "disent"):
        assert name in message


@pytest.mark.parametrize(
    ("option", "part"),
    [
        ("--nodes=disent.trian", "disent.trian"),
        ("--from-nodes=disent.trian", "disent.trian"),
        ("--to-outputs=metrcs", "metrcs"),
        ("--tags=trainign", "no nodes"),
    ],
)
def test_a_choice_of_nodes_that_are_not_there(option: str, part: str, refusal: Callable[..., str]):
    assert part in refusal(option)


def test_a_load_version_of_what_the_pipeline_does_not_read(refusal: Callable[..., str]):
    message = refusal("--pipeline=evaluation", "--load-versions=disnt.checkpoint:2026-01-01")
    assert "disnt.checkpoint" in message
    assert "Did you mean disent.checkpoint?" in message


def test_a_load_version_that_is_not_stored(refusal: Callable[..., str], shared: Project):
    message = refusal("--pipeline=evaluation", "--load-versions=disent.checkpoint:2026-01-01")
    assert "disent.checkpoint:2026-01-01 does not exist" in message
    assert shared.file("06_models/**/disent/**/*.safetensors").parent.name in message


def test_two_options_for_the_pipeline(refusal: Callable[..., str]):
    assert "--pipelines" in refusal("--pipeline=disent", "--pipelines=vanilla")


@pytest.mark.parametrize(
    ("name", "text"),
    [("parameters", "a: [1, 2"), ("catalog", "a: 1\n  b: 2"), ("mlflow", "a: '")],
)
def test_a_file_of_the_configuration_that_is_not_yaml(
    name: str, text: str, refusal: Callable[..., str], shared: Project
):
    (shared.path / "conf/local").mkdir(exist_ok=True)
    file = shared.path / f"conf/local/{name}.yml"
    file.write_text(text)
    try:
        message = refusal()
    finally:
        file.unlink()
    assert f"{name}.yml" in message
    assert "line" in message


def test_a_folder_without_configuration(tmp_path: Path, shared: Project):
    (tmp_path / "pyproject.toml").write_text((shared.path / "pyproject.toml").read_text())
    (tmp_path / "src").mkdir()
    message = told_in_one_line(Project(tmp_path).run())
    assert f"{tmp_path}/conf/base does not exist" in message
    assert "--conf-source=" in message
    assert not [path for path in tmp_path.iterdir() if path.name not in ("pyproject.toml", "src")]


def test_an_environment_that_is_not_there(refusal: Callable[..., str]):
    assert "conf/prod" in refusal("--env=prod")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there(refusal: Callable[..., str]):
    message = refusal(device="cuda")
    assert "device=cuda" in message
    assert "device=cpu" in message


def test_evaluation_before_training(refusal: Callable[..., str]):
    message = refusal("--pipeline=evaluation", percent="5pct")
    assert "disent.checkpoint" in message
    assert "percent=5pct" in message
    assert "run this first: kedro run --pipeline=" in message


def test_training_before_ingestion(refusal: Callable[..., str]):
    message = refusal("--pipeline=training", percent="5pct")
    assert "images" in message
    assert "run this first: kedro run --pipeline=ingestion" in message


@pytest.mark.parametrize(
    ("pipeline", "changes"),
    [
        ("groupdro", {"dataset": "folder"}),
        ("benchmark", {"benchmark__datasets": "folder", "benchmark__methods": "vanilla+groupdro"}),
    ],
)
def test_a_method_that_needs_bias_labels_on_data_without(
    pipeline: str, changes: dict[str, str], refusal: Callable[..., str], tmp_path: Path
):
    for label in ("cat", "dog"):
        (tmp_path / label).mkdir()
        Image.new("RGB", (5, 6)).save(tmp_path / label / "1.png")
    message = refusal(f"--pipeline={pipeline}", raw_dir=tmp_path, **changes)
    assert "groupdro needs bias labels" in message
    assert "dataset=folder" in message
    assert "add a column bias" in message


def test_a_batch_larger_than_the_split(refusal: Callable[..., str]):
    message = refusal("--pipeline=training", recipe__batch_size=4000)
    assert "recipe.batch_size=4000" in message
    assert "3500 images" in message


def test_a_loss_that_is_not_finite(refusal: Callable[..., str], shared: Project):
    message = refusal("--pipeline=training", recipe__lr=1e30, recipe__steps=20)
    assert "loss" in message
    assert "step 1" in message
    assert "smaller recipe.lr" in message
    assert shared.mlflow_runs()[0].info.status == "FAILED"


# --- Raw data -------------------------------------------------------------------------------------


def test_raw_dir_is_missing(refusal: Callable[..., str], tmp_path: Path):
    message = refusal(dataset="cmnist", raw_dir=tmp_path / "nowhere")
    assert "nowhere does not exist" in message
    assert "correct the path" in message


def test_raw_dir_is_empty(refusal: Callable[..., str], tmp_path: Path):
    (tmp_path / "raw").mkdir()
    message = refusal(dataset="cmnist", raw_dir=tmp_path / "raw")
    assert "is empty" in message
    assert "put raw data there" in message


def test_a_truncated_idx_file(refusal: Callable[..., str], tmp_path: Path):
    write_mnist(tmp_path)
    damaged = tmp_path / "MNIST/raw/train-images-idx3-ubyte"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    message = refusal(dataset="cmnist", raw_dir=tmp_path)
    assert "train-images-idx3-ubyte is damaged" in message
    assert "delete it and run again" in message


def test_a_percent_that_is_not_published(refusal: Callable[..., str], tmp_path: Path):
    write_published(tmp_path)
    message = refusal(dataset="cmnist", percent="3pct", raw_dir=tmp_path)
    assert "3pct" in message and "2pct" in message


def test_a_png_that_does_not_decode(refusal: Callable[..., str], tmp_path: Path):
    write_published(tmp_path)
    damaged = tmp_path / "cmnist/2pct/align/0/0_0_0.png"
    damaged.write_bytes(damaged.read_bytes()[:40])
    message = refusal(dataset="cmnist", raw_dir=tmp_path)
    assert "cmnist/2pct/align/0/0_0_0.png: cannot be decoded" in message
    assert "Repair or remove" in message


def test_a_file_name_that_does_not_parse(refusal: Callable[..., str], tmp_path: Path):
    write_published(tmp_path)
    named = tmp_path / "cmnist/2pct/align/0/0_0_0.png"
    named.rename(named.with_name("zero.png"))
    message = refusal(dataset="cmnist", raw_dir=tmp_path)
    assert "cmnist/2pct/align/0/zero.png: the name is not <id>_<label>_<bias>.png" in message


# --- Damaged results ------------------------------------------------------------------------------


def test_a_damaged_checkpoint(project: Project):
    checkpoint = project.file("06_models/**/disent/**/checkpoint.safetensors")
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    with unchanged(project):
        message = told_in_one_line(project.run("--pipeline=evaluation"))
    assert "disent/checkpoint.safetensors" in message
    assert "damaged" in message
    assert "delete it and run" in message


def test_a_checkpoint_of_someone_else(project: Project):
    from safetensors.torch import save_file

    checkpoint = project.file("06_models/**/disent/**/checkpoint.safetensors")
    save_file({"weight": torch.zeros(3)}, checkpoint)
    message = told_in_one_line(project.run("--pipeline=evaluation"))
    assert "was not written by this project" in message


def test_a_manifest_that_breaks_its_schema(project: Project):
    path = project.file("03_primary/**/manifest.parquet")
    manifest = pd.read_parquet(path)
    manifest.loc[7, "split"] = "holdout"
    manifest.to_parquet(path, index=False)
    with unchanged(project):
        message = told_in_one_line(project.run("--pipeline=evaluation"))
    assert "'manifest'" in message
    assert "split" in message
    assert "holdout" in message
    assert "kedro run --pipeline=ingestion" in message


def test_the_executable_on_a_fresh_project(tmp_path: Path):
    project = make_project(tmp_path / "project", with_database=False)
    outcome = project.executable("--pipeline=evaluation")
    assert outcome.exit_code == 1
    # MLflow tells of the tables that it makes, once in a project's life.
    said = [line for line in outcome.stderr.splitlines() if " INFO mlflow." not in line]
    assert len(said) == 1, outcome.stderr
    assert said[0].startswith("Error: data_card, ")
    assert "run this first: kedro run --pipeline=" in said[0]
    assert "Traceback" not in outcome.stdout
    assert not project.mlflow_runs()


# --------------------------------------------------------------------------------------------------


def write_mnist(raw_dir: Path) -> None:
    folder = raw_dir / "MNIST/raw"
    folder.mkdir(parents=True)
    for prefix, n in (("train", 120), ("t10k", 20)):
        images, labels = np.zeros((n, 6, 5), np.uint8), np.arange(n, dtype=np.uint8) % 10
        for name, array in (("images-idx3", images), ("labels-idx1", labels)):
            header = bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape)
            (folder / f"{prefix}-{name}-ubyte").write_bytes(header + array.tobytes())


def write_published(raw_dir: Path) -> None:
    percent = raw_dir / "cmnist/2pct"
    places = [
        *(percent / f"align/{label}/{label}_{label}_{label}.png" for label in range(10)),
        percent / "conflict/0/10_0_1.png",
        percent / "valid/11_0_0.png",
        raw_dir / "cmnist/test/0/12_0_1.png",
    ]
    for place in places:
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (5, 6)).save(place)
