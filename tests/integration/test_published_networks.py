"""Networks in the format of published code: exported by one command, judged by another."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from metric_names import ACCURACIES
from test_errors import told_in_one_line, unchanged
from throwaway_project import Project, make_project

FILES = ("best_model_l.th", "best_model_b.th")
# The second seed of the run: what is exported must be what was asked for, not the first.
SEED, POSITION = 1, 1


@pytest.fixture(scope="module")
def project(trained_project: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    return trained_project.copy(tmp_path_factory.mktemp("published") / "project")


@pytest.fixture(scope="module")
def exported(project: Project) -> Path:
    """What `kedro export-checkpoint` writes."""
    done = project.command("export-checkpoint", "--to=published", f"--seed={SEED}")
    assert done.exit_code == 0, done.stdout + done.stderr
    folder = project.path / "published"
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
    assert all(f"published/{name}" in done.stdout for name in FILES)
    return folder


def test_files_are_plain_tensors_of_the_step(exported: Path):
    for name in FILES:
        saved = torch.load(exported / name, weights_only=True)
        assert set(saved) == {"steps", "state_dict", "optimizer"}
        assert saved["steps"] == 60
        assert {"feature.0.weight", "fc.weight"} <= set(saved["state_dict"])


def test_what_was_exported_is_judged_the_same(project: Project, exported: Path):
    before = project.results()
    # Without a history there are fewer figures, so they are drawn here.
    drawn = Project(project.path, draws=True)
    outcome = drawn.run("--pipeline=evaluation", pretrained=exported)
    assert outcome.exit_code == 0, outcome.stderr
    assert "Unbiased" in outcome.stdout
    (path,) = re.findall(r"^pretrained report: (\S+)$", outcome.stdout, re.MULTILINE)
    report = (project.path / path).read_text("utf-8")
    assert "Learning curves" not in report and "Which label is taken" in report
    assert "--pipeline=evaluation --params dataset=cmnist_mini,percent=2pct" in report
    assert f"pretrained={exported}" in report
    (path,) = re.findall(r"^pretrained metrics: (\S+)$", outcome.stdout, re.MULTILINE)
    assert (project.path / path).name == "metrics.json"
    # A row of the table, not wrapped letter by letter.
    assert re.search(r"^disent +last ", outcome.stdout, re.MULTILINE)
    _joins_the_comparison(project, exported)
    now, index = project.results(), "data/08_reporting/cmnist_mini/2pct/index.html"
    assert {name: now[name] for name in before if name != index} == {
        name: facts for name, facts in before.items() if name != index
    }
    new = ("/2pct/pretrained/", "/2pct/comparison_")
    assert not [name for name in now.keys() - before.keys() if not any(n in name for n in new)]
    left = project.catalog().load
    ours, theirs = left("disent.metrics"), left("pretrained.metrics")
    assert (theirs["method"], theirs["headline"]) == ("disent", ours["headline"])
    assert theirs["checkpoints"]["last"].keys() == ours["checkpoints"]["last"].keys()
    for name in ("step", *ACCURACIES):
        figure = theirs["checkpoints"]["last"][name]
        expected = ours["checkpoints"]["last"][name]["per_seed"][POSITION]
        assert figure == {"mean": expected, "std": None, "per_seed": [expected]}, name
    # One pair of files has no history to choose from, and keeps no weights.
    assert theirs["checkpoints"]["selected"] is None
    assert theirs["checkpoints"]["best_on_test"] is None
    assert theirs["conflict_detection_auroc"]["mean"] is None
    assert left("pretrained.group_accuracy")["images"].sum() == 1000
    (*_, logged) = sorted(project.mlflow_runs(), key=lambda run: run.info.start_time)
    assert logged.info.status == "FINISHED"
    assert logged.data.metrics["last/accuracy"] == pytest.approx(
        theirs["checkpoints"]["last"]["accuracy"]["mean"]
    )


def _joins_the_comparison(project: Project, exported: Path) -> None:
    page = project.file("08_reporting/cmnist_mini/2pct/comparison_report.html/*/*").read_text()
    assert "<h1>vanilla, disent, disent (published checkpoint) on cmnist_mini, 2pct</h1>" in page
    (commands,) = re.findall("<pre><code>(.*?)</code></pre>", page, re.S)
    assert [line.split()[2] for line in commands.splitlines()] == [
        "--pipeline=vanilla", "--pipeline=disent", "--pipeline=evaluation",
    ]  # fmt: skip
    assert f"pretrained={exported}" in commands.splitlines()[-1]
    assert "disent (published checkpoint)" in project.load("report_index")


def test_data_that_does_not_exist_is_made(exported: Path, tmp_path: Path):
    fresh = make_project(tmp_path / "fresh")
    refused = fresh.run("--pipeline=evaluation", pretrained=tmp_path)
    assert f"pretrained={tmp_path} has no files" in told_in_one_line(refused)
    assert not fresh.files("03_primary/**/*.npy")
    outcome = fresh.run("--pipeline=evaluation", pretrained=exported)
    assert outcome.exit_code == 0, outcome.stderr
    assert fresh.files("03_primary/cmnist_mini/2pct/images.npy")
    assert fresh.load("pretrained.metrics")["checkpoints"]["last"]["accuracy"]["mean"] > 0
    assert not fresh.files("08_reporting/**/comparison_report.html/*/*")


# --- What is refused ------------------------------------------------------------------------------


class Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.fixture
def refusal(project: Project, exported: Path) -> Callable[[Path], str]:
    """A function that has a folder judged, which must be refused; returns what is said."""

    def refuse(folder: Path) -> str:
        with unchanged(project):
            return told_in_one_line(project.run("--pipeline=evaluation", pretrained=folder))

    return refuse


@pytest.fixture
def damaged(exported: Path, tmp_path: Path) -> Path:
    """A folder of the exported files, to be damaged."""
    folder = tmp_path / "damaged"
    folder.mkdir()
    for name in FILES:
        (folder / name).write_bytes((exported / name).read_bytes())
    return folder


def test_a_pickle_bomb(refusal: Callable[[Path], str], damaged: Path):
    exploded, name = damaged / "exploded", "best_model_b.th"
    saved = torch.load(damaged / name, weights_only=True)
    torch.save({**saved, "optimizer": Bomb(exploded)}, damaged / name)
    message = refusal(damaged)
    assert f"{name} contains more than tensors" in message
    assert "was not opened" in message
    assert not exploded.exists()


def test_a_folder_that_is_not_there(refusal: Callable[[Path], str], tmp_path: Path):
    message = refusal(tmp_path / "nowhere")
    assert "nowhere/best_model_l.th does not exist" in message
    assert "pretrained=" in message


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (
            ["--params=percent=5pct"],
            ["no checkpoint of disent yet", "--params dataset=cmnist_mini,percent=5pct"],
        ),
        (["--method=disnet"], ["Unknown method 'disnet'", "Did you mean disent?"]),
        (["--method=vanilla"], ["vanilla has no published checkpoint format"]),
        (["--seed=7"], ["'7'", "0, 1"]),
        (["--checkpoint=best"], ["'best'", "last, selected, pseudo_groups, best_on_test"]),
    ],
    ids=lambda value: value[0],
)
def test_what_can_not_be_exported(options: list[str], parts: list[str], project: Project):
    with unchanged(project):
        outcome = project.command("export-checkpoint", "--to=elsewhere", *options)
    message = told_in_one_line(outcome)
    assert not [part for part in parts if part not in message], message
    assert not (project.path / "elsewhere").exists()
