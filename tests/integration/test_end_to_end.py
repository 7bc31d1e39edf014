"""One short `kedro run` on the embedded digits, what it leaves, and what builds on that."""

import json
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from forked_kedro import ForkedKedro
from metric_names import ACCURACIES
from throwaway_project import Project

from debias_pipeline.biased_data.manifest import Manifest
from debias_pipeline.config_loader import with_store_in

METHODS = ("vanilla", "disent")
SEEDS = (0, 1)
EVALUATED = (20, 40, 60)
TRAIN, TEST = 3500, 1000
CHOICES = ("last", "selected", "pseudo_groups", "best_on_test")
BIAS_BRANCH = "bias_branch_accuracy"
WORST_CLASS = "worst_class_accuracy"
LOSS_TERMS = {
    "vanilla": ["loss"],
    "disent": [
        "loss",
        "loss_intrinsic",
        "loss_bias",
        "loss_swap_intrinsic",
        "loss_swap_bias",
    ],
}


@pytest.fixture(scope="module")
def left(trained_project: Project) -> Callable[[str], Any]:
    """A function that loads from the catalog what the run has left."""
    return trained_project.catalog().load


# --- The contracts --------------------------------------------------------------------------------


def test_images_and_manifest(left: Callable[[str], Any]):
    images, manifest = left("images"), left("manifest")
    assert images.shape == (5000, 28, 28, 3)
    assert images.dtype == np.uint8
    assert isinstance(images, np.memmap)
    assert isinstance(Manifest.validate(manifest), pd.DataFrame)
    assert manifest["split"].value_counts().to_dict() == {
        "train": TRAIN,
        "valid": 500,
        "test": TEST,
    }
    conflicting = manifest.groupby("split")["conflicting"].sum()
    assert conflicting[["train", "valid"]].to_dict() == {"train": 70, "valid": 10}


@pytest.mark.parametrize("method", METHODS)
def test_metrics(method: str, trained_project: Project):
    file = trained_project.file(f"08_reporting/cmnist_mini/2pct/{method}/metrics.json/*/*")
    metrics = json.loads(file.read_text("utf-8"), parse_constant=_refuse_constant)
    named = {key: metrics[key] for key in ("dataset", "percent", "method", "headline")}
    assert named == {
        "dataset": "cmnist_mini",
        "percent": "2pct",
        "method": method,
        "headline": "accuracy",
    }
    assert tuple(metrics["checkpoints"]) == CHOICES
    for figures in metrics["checkpoints"].values():
        assert tuple(figures) == (
            *("step", *ACCURACIES, BIAS_BRANCH),
            *("support", "reliable", "evidence"),
        )
        assert set(figures["step"]["per_seed"]) <= set(EVALUATED)
        for name in ACCURACIES:
            _check_over_seeds(figures[name])
    assert metrics["checkpoints"]["last"]["step"]["per_seed"] == [60, 60]
    assert tuple(metrics["dead_units"]) == tuple(metrics["collapsed"]) == CHOICES
    selected = metrics["checkpoints"]["selected"]
    # At 2pct 10 of the 500 validation images are bias-conflicting.
    assert (selected["support"]["per_seed"], selected["reliable"]) == ([10, 10], False)


def test_what_a_method_does_not_have_is_null(left: Callable[[str], Any]):
    has, has_not = left("disent.metrics"), left("vanilla.metrics")
    _check_over_seeds(has["conflict_detection_auroc"])
    none = {"mean": None, "std": None, "per_seed": [None, None]}
    assert has_not["conflict_detection_auroc"] == none
    for choice in CHOICES:
        _check_over_seeds(has["checkpoints"][choice][BIAS_BRANCH])
        assert has_not["checkpoints"][choice][BIAS_BRANCH] == none
    assert left("vanilla.predictions")["bias_branch_prediction"].isna().all()


@pytest.mark.parametrize("method", METHODS)
def test_history(method: str, left: Callable[[str], Any]):
    history = left(f"{method}.history")
    of_steps = [name for name in ACCURACIES if name != "adjusted_average_accuracy"]
    names = (*of_steps, WORST_CLASS)
    if method != "vanilla":
        names += (BIAS_BRANCH,)
    accuracies = [f"{split}_{name}" for split in ("valid", "test") for name in names]
    assert list(history) == [
        "step", "seed", *LOSS_TERMS[method], "learning_rate", *accuracies, "dead_units",
        "images_per_second",
    ]  # fmt: skip
    rows = list(zip(history["step"], history["seed"], strict=True))
    assert rows == [(step, seed) for step in EVALUATED for seed in SEEDS]
    assert history["loss"].notna().all()
    assert history["dead_units"].between(0, 1).all()
    assert (history["images_per_second"] > 0).all()


def test_swap_terms_begin_after_swap_start(left: Callable[[str], Any]):
    history = left("disent.history").set_index("step")
    swap = history[["loss_swap_intrinsic", "loss_swap_bias"]]
    assert swap.loc[20].isna().all(axis=None)
    assert swap.loc[40:].notna().all(axis=None)


@pytest.mark.parametrize("method", METHODS)
def test_sample_weights(method: str, left: Callable[[str], Any]):
    weights, manifest = left(f"{method}.sample_weights"), left("manifest")
    train = manifest[manifest["split"] == "train"].set_index("image_id")
    for _, of_seed in weights.groupby("seed"):
        of_seed = of_seed.set_index("image_id")
        assert of_seed.index.equals(train.index)
        assert of_seed["conflicting"].equals(train["conflicting"])
    assert sorted(weights["seed"].unique()) == [*SEEDS]
    columns = weights[["weight", "loss_average_intrinsic", "loss_average_bias"]]
    if method == "vanilla":
        assert columns.isna().all(axis=None)
    else:
        assert columns.notna().all(axis=None)
        assert weights["weight"].between(0, 1).all()


def test_suspicious_images_of_all_splits(left: Callable[[str], Any], trained_project: Project):
    path = "08_reporting/cmnist_mini/2pct/{}/suspects.csv"
    assert not trained_project.files(path.format("vanilla"))
    assert len(trained_project.files(path.format("disent"))) == 1
    suspects, manifest = left("disent.suspects"), left("manifest").set_index("source")
    assert suspects["rank"].tolist() == list(range(1, len(manifest) + 1))
    of_file = manifest.loc[suspects["file"]]
    assert suspects["split"].tolist() == of_file["split"].tolist()
    assert suspects["label"].tolist() == of_file["label"].astype(str).tolist()
    assert suspects["bias"].ne("").all()
    weights = left("disent.sample_weights").groupby("image_id")["weight"].mean()
    train = suspects[suspects["split"] == "train"]
    expected = weights.loc[manifest.loc[train["file"], "image_id"]]
    np.testing.assert_allclose(train["weight"], expected, atol=1e-6)
    assert suspects["weight"].between(0, 1).all()


@pytest.mark.parametrize("method", METHODS)
def test_predictions_and_group_accuracy_give_the_metrics(method: str, left: Callable[[str], Any]):
    predictions, groups = left(f"{method}.predictions"), left(f"{method}.group_accuracy")
    manifest, metrics = left("manifest").set_index("image_id"), left(f"{method}.metrics")
    assert len(predictions) == TEST * len(SEEDS) * len(CHOICES)
    predictions["correct"] = predictions["prediction"].to_numpy() == (
        manifest["label"].reindex(predictions["image_id"]).to_numpy()
    )
    for choice in CHOICES:
        per_seed = metrics["checkpoints"][choice]["accuracy"]["per_seed"]
        by_image = predictions[predictions["checkpoint"] == choice].groupby("seed")["correct"]
        assert by_image.mean().tolist() == pytest.approx(per_seed)
        cells = groups[groups["checkpoint"] == choice].groupby("seed")
        assert (cells.size() == 100).all()
        assert (cells["images"].sum() == TEST).all()
        assert (cells["correct"].sum() / TEST).tolist() == pytest.approx(per_seed)


@pytest.mark.parametrize("method", METHODS)
def test_checkpoint_holds_the_networks_of_every_rule(method: str, left: Callable[[str], Any]):
    checkpoint, metrics = left(f"{method}.checkpoint"), left(f"{method}.metrics")
    kept = {tuple(name.split("/")[:2]) for name in checkpoint["tensors"]}
    assert kept == {(choice, f"seed{seed}") for choice in CHOICES for seed in SEEDS}
    steps = {
        choice: figures["step"]["per_seed"] for choice, figures in metrics["checkpoints"].items()
    }
    assert checkpoint["metadata"]["steps"] == steps


def test_best_on_test_is_the_best_of_the_history(left: Callable[[str], Any]):
    history = left("disent.history")
    best = history.groupby("seed")["test_accuracy"].max().tolist()
    judged = left("disent.metrics")["checkpoints"]["best_on_test"]["accuracy"]["per_seed"]
    assert judged == pytest.approx(best)


@pytest.mark.parametrize("name", ["vanilla.report", "disent.report", "comparison_report"])
def test_reports_load_nothing(name: str, left: Callable[[str], Any]):
    page = left(name)
    links = _Links(page)
    assert not links.outward
    assert links.embedded > 0
    assert "nbiased" in page
    assert "@import" not in page
    assert "url(http" not in page


# --- MLflow ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tracked(trained_project: Project) -> dict[str, mlflow.entities.Run]:
    """The run, by "", and its child runs, by method."""
    *children, run = trained_project.mlflow_runs()
    assert {each.data.tags["mlflow.parentRunId"] for each in children} == {run.info.run_id}
    return {"": run, **{each.data.tags["method"]: each for each in children}}


def test_a_finished_run_with_a_child_per_method(tracked: dict[str, mlflow.entities.Run]):
    assert {name: run.info.run_name for name, run in tracked.items()} == {
        "": "cmnist_mini 2pct/vanilla+disent",
        **{method: f"cmnist_mini 2pct/{method}" for method in METHODS},
    }
    assert {run.info.status for run in tracked.values()} == {"FINISHED"}


def test_tags(tracked: dict[str, mlflow.entities.Run], trained_project: Project):
    commit = subprocess.run(
        ["git", "-C", str(trained_project.path), "rev-parse", "HEAD"],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    wanted = {"dataset": "cmnist_mini", "percent": "2pct", "seeds": "0,1", "git_commit": commit}
    for run in tracked.values():
        assert wanted.items() <= run.data.tags.items()
        described = run.data.tags["mlflow.note.content"]
        command = run.data.tags["kedro_command"]
        assert "recipe.steps=60" in command
        for part in ("cmnist_mini 2pct", "steps 60", "train images=3500", command):
            assert part in described
    assert set(tracked[""].data.tags["method"].split(",")) == set(METHODS)


def test_parameters_are_flat_and_named_alike(tracked: dict[str, mlflow.entities.Run]):
    params = {method: tracked[method].data.params for method in METHODS}
    for each in params.values():
        assert (each["dataset"], each["seeds"], each["device"]) == ("cmnist_mini", "2", "cpu")
        assert each["recipe.steps"] == "60"
        assert not [value for value in each.values() if value.startswith("{")]
    assert params["disent"]["recipe.lambda_swap_b"] == "10.0"
    assert params["vanilla"].keys() < params["disent"].keys()


@pytest.mark.parametrize("method", METHODS)
def test_step_metrics(
    method: str,
    tracked: dict[str, mlflow.entities.Run],
    trained_project: Project,
    left: Callable[[str], Any],
):
    history = left(f"{method}.history").query("seed == 1").set_index("step")
    client = trained_project.mlflow_client()
    for column in (*LOSS_TERMS[method], "learning_rate", "valid_accuracy", "test_accuracy"):
        logged = client.get_metric_history(tracked[method].info.run_id, f"seed1/{column}")
        values = pd.Series({each.step: each.value for each in logged})
        expected = history[column].dropna()
        assert list(values.index) == list(expected.index)
        assert values.to_numpy() == pytest.approx(expected.to_numpy())


@pytest.mark.parametrize("method", METHODS)
def test_final_metrics(
    method: str, tracked: dict[str, mlflow.entities.Run], left: Callable[[str], Any]
):
    metrics = tracked[method].data.metrics
    checkpoints = left(f"{method}.metrics")["checkpoints"]
    for choice in CHOICES:
        # The names of metrics that look at the test labels say so, and sort last.
        section = "uses_test_labels/best_on_test_" if choice == "best_on_test" else f"{choice}/"
        for name in (*ACCURACIES, BIAS_BRANCH):
            logged = metrics.get(f"{section}{name}")
            assert logged == pytest.approx(checkpoints[choice][name]["mean"])
    assert max(metrics).startswith("uses_test_labels/")
    assert metrics["system/system_memory_usage_megabytes"] > 0


@pytest.mark.parametrize("method", METHODS)
def test_the_data_is_an_input(
    method: str, tracked: dict[str, mlflow.entities.Run], left: Callable[[str], Any]
):
    [given] = tracked[method].inputs.dataset_inputs
    assert left("data_card")["content_hash"].startswith(given.dataset.digest)
    assert json.loads(given.dataset.profile)["test images"] == 1000


def test_artifacts(tracked: dict[str, mlflow.entities.Run], trained_project: Project):
    def logged(run: mlflow.entities.Run) -> set[str]:
        artifacts = trained_project.path / "mlruns" / run.info.run_id / "artifacts"
        return {path.relative_to(artifacts).as_posix() for path in artifacts.rglob("*.*")}

    assert {"data/data_card.json", "comparison/comparison_report.html"} <= logged(tracked[""])
    for method in METHODS:
        assert {
            "report.html",
            "figures/learning_curves.svg",
            "tables/group_accuracy.csv",
            "tables/history.csv",
            "tables/metrics.json",
        } <= logged(tracked[method])


@pytest.mark.parametrize("method", METHODS)
def test_the_model_of_a_run_is_loaded_and_needs_no_space(
    method: str, tracked: dict[str, mlflow.entities.Run], trained_project: Project
):
    run = tracked[method]
    [output] = run.outputs.model_outputs
    model = trained_project.path / "mlruns/models" / output.model_id / "artifacts"
    checkpoint = trained_project.file(f"06_models/**/{method}/checkpoint.safetensors/*/*")
    assert (model / "checkpoint.safetensors").samefile(checkpoint)
    loaded = mlflow.pyfunc.load_model(str(model))
    predicted = loaded.predict(loaded.input_example)
    assert predicted["label"][0] in map(str, range(10))


def test_everything_is_filed_in_the_project(project: Project):
    """The store is given by a relative path, but not relative to where a run starts."""
    notebooks = project.path / "notebooks"
    notebooks.mkdir()
    assert project.run("--pipeline=ingestion", start_in="notebooks").exit_code == 0
    assert not list(notebooks.glob("*.db"))
    assert not list(notebooks.glob("mlruns"))
    newest = project.mlflow_runs()[0]
    assert (
        project.path / "mlruns" / newest.info.run_id / "artifacts/data/data_card.json"
    ).is_file()


def test_a_server_is_left_alone(tmp_path: Path):
    config = {"server": {"mlflow_tracking_uri": "http://tracking.example:5000"}, "tracking": {}}
    assert with_store_in(tmp_path, config) == config


@pytest.mark.parametrize(
    ("uri", "folder"), [("sqlite:////srv/mlflow.db", "/srv"), ("sqlite:///mlflow.db", ""), ("", "")]
)
def test_artifacts_are_kept_next_to_a_sqlite_store(uri: str, folder: str, tmp_path: Path):
    config = with_store_in(tmp_path, {"server": {"mlflow_tracking_uri": uri}})
    place = Path(folder or tmp_path)
    assert config["server"]["mlflow_tracking_uri"] == f"sqlite:///{place}/mlflow.db"
    created_with = config["tracking"]["experiment"]["create_experiment_kwargs"]
    assert created_with == {"artifact_location": f"file://{place}/mlruns"}


# --- What builds on a run -------------------------------------------------------------------------


def test_the_same_command_gives_the_same(
    project: Project, short_run: dict[str, Any], left: Callable[[str], Any]
):
    outcome = project.run(**short_run)
    assert outcome.exit_code == 0
    again = project.catalog()
    for method in METHODS:
        first, second = left(f"{method}.checkpoint"), again.load(f"{method}.checkpoint")
        assert first["metadata"] == second["metadata"]
        assert first["tensors"].keys() == second["tensors"].keys()
        for name, tensor in first["tensors"].items():
            assert tensor.numpy().tobytes() == second["tensors"][name].numpy().tobytes(), name
        for name in ("metrics", "sample_weights", "predictions", "group_accuracy"):
            _assert_same(left(f"{method}.{name}"), again.load(f"{method}.{name}"))
        assert len(project.files(f"06_models/**/{method}/**/*.safetensors")) == 2
    _assert_same(np.asarray(left("images")), np.asarray(again.load("images")))


def test_evaluation_alone_gives_the_same_metrics(project: Project, left: Callable[[str], Any]):
    outcome = project.run("--pipeline=evaluation")
    assert outcome.exit_code == 0
    assert "Unbiased" in outcome.stdout
    again = project.catalog()
    for method in METHODS:
        assert len(project.files(f"08_reporting/**/{method}/metrics.json/*/*")) == 2
        assert again.load(f"{method}.metrics") == left(f"{method}.metrics")
        _assert_same(again.load(f"{method}.group_accuracy"), left(f"{method}.group_accuracy"))
    *children, run = project.mlflow_runs()[:3]
    assert run.info.run_name == "cmnist_mini 2pct/vanilla+disent evaluation"
    assert [each.info.run_name for each in children if each.outputs.model_outputs] == [
        "cmnist_mini 2pct/vanilla evaluation", "cmnist_mini 2pct/disent evaluation",
    ]  # fmt: skip


def test_reporting_alone(project: Project, left: Callable[[str], Any]):
    outcome = Project(project.path, draws=True).run("--pipeline=reporting", device="cpu")
    assert outcome.exit_code == 0
    again = project.catalog()
    for name in ("vanilla.report", "disent.report", "comparison_report"):
        assert again.load(name) == left(name)
    assert len(project.files("08_reporting/**/comparison_report.html/*/*")) == 2


def test_another_percent_and_method_are_filed_apart(project: Project):
    before = project.results()
    params = {"percent": "5pct", "seed": 3, "recipe__steps": 4, "recipe__eval_every": 4}
    assert project.run("--pipeline=lff", **params).exit_code == 0
    now = project.results()
    assert {name: now.get(name) for name in before} == before
    assert all("/cmnist_mini/5pct/" in name for name in now.keys() - before.keys())
    metrics = project.load("lff.metrics", percent="5pct")
    assert metrics["percent"] == "5pct"
    assert metrics["seeds"] == [3]
    assert metrics["checkpoints"]["last"]["accuracy"]["std"] is None
    _evaluate_what_is_trained(project)


def _evaluate_what_is_trained(project: Project) -> None:
    """At 5pct only lff is trained: that vanilla is not must be no error."""
    outcome = project.run("--pipeline=evaluation", percent="5pct")
    assert outcome.exit_code == 0, outcome.stderr
    assert len(project.files("08_reporting/**/5pct/lff/metrics.json/*/*")) == 2
    assert not project.files("08_reporting/**/5pct/vanilla/**/*")
    assert project.mlflow_runs()[0].data.tags["method"] == "lff"


def test_a_killed_run(project: Project, left: Callable[[str], Any]):
    """Step metrics can be read while training goes on; killed, it leaves the rest as it was."""
    before, earlier = project.results(), {run.info.run_id for run in project.mlflow_runs()}
    endless = project.start_kedro(
        "--pipeline=training", recipe__steps=10_000_000, recipe__eval_every=20
    )
    try:
        steps = _steps_logged(project, endless, earlier)
        first, second = next(steps), next(steps)
        assert (first, second) == (20, 40)
        assert endless.poll() is None
    finally:
        endless.send_signal(signal.SIGKILL)
        assert endless.wait() == -signal.SIGKILL
    assert project.results() == before
    outcome = project.kedro("--pipeline=evaluation")
    assert outcome.exit_code == 0, outcome.stderr
    assert not outcome.stderr
    assert "Unbiased" in outcome.stdout
    assert len(project.files("08_reporting/**/disent/metrics.json/*/*")) == 2
    assert project.load("disent.metrics") == left("disent.metrics")
    assert project.mlflow_runs()[0].info.status == "FINISHED"


def _steps_logged(project: Project, run: ForkedKedro, earlier: set[str]) -> Iterator[int]:
    """Steps of a run that is still going on, in the order in which they appear in the store."""
    known: set[int] = set()
    deadline = time.monotonic() + 60
    query = "SELECT run_uuid, step FROM metrics WHERE key = 'seed0/loss_bias' ORDER BY step"
    while time.monotonic() < deadline and run.poll() is None:
        with closing(sqlite3.connect(project.path / "mlflow.db", timeout=30)) as store:
            found = [step for run_id, step in store.execute(query) if run_id not in earlier]
        yield from (step for step in found if step not in known)
        known.update(found)
        time.sleep(0.1)


# --------------------------------------------------------------------------------------------------


class _Links(HTMLParser):
    """Finds what a page would fetch from elsewhere, and counts the images that it holds."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.embedded = 0
        self.outward: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag in ("link", "iframe", "object", "embed", "base"):
            self.outward.append(tag)
        for name, value in attributes:
            fetches = name in ("src", "srcset", "href", "xlink:href", "data", "action", "poster")
            # A link in the text is followed by the reader, not by the page.
            if not fetches or tag == "a" or (value or "").startswith("#"):
                continue
            if (value or "").startswith("data:image/"):
                self.embedded += 1
            elif value != "data:,":  # the empty image of a dialog
                self.outward.append(f"{tag} {name}={value}")


def _refuse_constant(name: str) -> None:
    raise AssertionError(f"{name} is no JSON")


def _check_over_seeds(summary: dict[str, Any]) -> None:
    assert set(summary) == {"mean", "std", "per_seed"}
    per_seed = summary["per_seed"]
    assert len(per_seed) == len(SEEDS)
    assert all(0 <= value <= 1 for value in per_seed)
    assert summary["mean"] == pytest.approx(np.mean(per_seed))
    assert summary["std"] == pytest.approx(np.std(per_seed, ddof=1))


def _assert_same(first: Any, second: Any) -> None:
    if isinstance(first, pd.DataFrame):
        pd.testing.assert_frame_equal(first, second, check_exact=True)
    elif isinstance(first, np.ndarray):
        assert np.array_equal(first, second)
    else:
        assert first == second
