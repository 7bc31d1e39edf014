"""Every data set that comes as files, from what lies in raw_dir to the report, by `kedro run`."""

import html
import os
import re
import shlex
import subprocess
import sys
import tarfile
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from metric_names import ACCURACIES
from PIL import Image
from throwaway_project import CHECKOUT, Project, make_project

from debias_pipeline.biased_data.sources.cifar10 import CLASS_NAMES
from debias_pipeline.reporting.figures import comparison_figures, method_figures
from debias_pipeline.reporting.figures.plots import to_svg as write_svg

METHODS = ("vanilla", "disent")
# Four steps of a small network: what is tested is that the nodes fit each data set. Runs that draw
# nothing replace the maps of images and features, see `drawing_nothing`.
TINY = {
    "device": "cpu",
    "recipe__network": "conv4",
    "recipe__steps": 4,
    "recipe__eval_every": 2,
    "recipe__batch_size": 8,
}
TINY_DISENT = {**TINY, "recipe__swap_start": 2}

KINDS = ("rgb", "turned", "gif", "palette", "grey", "deep", "alpha", "webp", "bmp")
SUFFIXES = {"turned": "jpg", "gif": "gif", "webp": "webp", "bmp": "bmp"}
LABELS, BIASES = ("camel", "cow"), ("meadow", "desert")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Without results at first; every test runs a setting of its own in it."""
    return make_project(tmp_path_factory.mktemp("data_sets") / "project")


def ran(project: Project, *arguments: str, **params: Any) -> str:
    outcome = project.run(*arguments, **params)
    assert outcome.exit_code == 0, outcome.stdout + outcome.stderr
    assert project.mlflow_runs()[0].info.status == "FINISHED"
    return outcome.stdout


# --- BFFHQ as published ---------------------------------------------------------------------------


@pytest.fixture
def faces_dir(tmp_path: Path) -> Path:
    """48 aligned and 4 conflicting faces; the flat valid beside the percent folder."""
    folder = tmp_path / "raw" / "bffhq"
    for i in range(48):
        write_noise(folder / f"0.5pct/align/{i % 2}/{i}_{i % 2}_{i % 2}.png", i)
    for i in range(4):
        write_noise(folder / f"0.5pct/conflict/{i % 2}/{i}_{i % 2}_{1 - i % 2}.png", 50 + i)
    for i in range(8):
        write_noise(folder / f"valid/{i}_{i % 2}_{i // 2 % 2}.png", 60 + i)
    for i in range(12):
        write_noise(folder / f"test/{i}_{i % 2}_{i // 2 % 2}.png", 70 + i)
    return tmp_path / "raw"


def test_bffhq_trains_and_is_judged_on_conflicting_images(project: Project, faces_dir: Path):
    setting = {"dataset": "bffhq", "percent": "0.5pct", "raw_dir": str(faces_dir)}
    said = ran(project, "--pipeline=disent", **setting, recipe__resize=32, **TINY_DISENT)
    assert "Published tables quote conflicting accuracy" in " ".join(said.split())
    left = project.catalog(**setting).load
    assert left("images").shape == (72, 48, 48, 3), "stored at their own size"
    metrics = left("disent.metrics")
    assert metrics["headline"] == "conflicting_accuracy"
    assert_complete(metrics)
    images, manifest = np.asarray(left("images")), left("manifest")
    for row in (0, 50, 71):
        with Image.open(faces_dir / manifest["source"][row]) as image:
            np.testing.assert_array_equal(images[row], np.asarray(image))
    (checkpoint,) = project.files("06_models/bffhq/0.5pct/disent/*/*/*.safetensors")
    assert checkpoint.stat().st_size > 0
    report = left("disent.report")
    for name in ("young", "old", "female", "male"):
        assert name in report
    rows = table_rows(report)
    judged = next(row for row in rows if row.startswith("last"))
    assert percentage(metrics["checkpoints"]["last"]["conflicting_accuracy"]) in judged


# --- Corrupted CIFAR-10 ---------------------------------------------------------------------------


@pytest.fixture
def cifar10_dir(tmp_path: Path) -> Path:
    """CIFAR-10 in class folders within a .tar.xz: 200 training images, 20 test images."""
    folder = tmp_path / "unpacked"
    for number, name in enumerate(CLASS_NAMES):
        for i in range(20):
            write_noise(folder / f"train/{name}/{i}.png", 100 * number + i, side=32)
        for i in range(2):
            write_noise(folder / f"test/{name}/{i}.png", 100 * number + 50 + i, side=32)
    (tmp_path / "raw").mkdir()
    with tarfile.open(tmp_path / "raw" / "cifar10.tar.xz", "w:xz") as archive:
        archive.add(folder, "cifar10")
    return tmp_path / "raw"


def test_cifar10c_from_an_archive_is_filed_by_severity(project: Project, cifar10_dir: Path):
    before = project.results()
    setting = {
        "dataset": "cifar10c",
        "percent": "20pct",
        "severity": 2,
        "data_seed": 5,
        "raw_dir": str(cifar10_dir),
    }
    ran(project, "--pipeline=vanilla", **setting, **TINY)
    now = project.results()
    assert {name: now[name] for name in before} == before
    folders = {Path(name).parts[2:4] for name in now.keys() - before.keys()}
    assert folders == {("cifar10c", "20pct_severity2_data5")}
    left = project.catalog(**setting).load
    card, manifest = left("data_card"), left("manifest")
    assert "severity 2" in card["origin"]
    assert "cifar10.tar.xz" in card["origin"]
    assert manifest["split"].value_counts().to_dict() == {"train": 180, "valid": 20, "test": 20}
    assert manifest.groupby("split")["conflicting"].sum()["train"] == 36
    assert list(left("data_figures")) == ["contact_sheet"]
    metrics = left("vanilla.metrics")
    assert (metrics["headline"], metrics["percent"]) == ("accuracy", "20pct")
    assert_complete(metrics)
    report = left("vanilla.report")
    assert "How the bias was made" in report
    assert all(name in report for name in CLASS_NAMES)


def test_an_option_of_another_data_set_is_refused(project: Project):
    before, runs = project.results(), len(project.mlflow_runs())
    outcome = project.run(dataset="cmnist_mini", severity=2)
    assert outcome.exit_code != 0
    (line,) = outcome.stderr.splitlines()
    assert line.startswith("Error: Unknown parameter 'severity'.")
    assert "Traceback" not in outcome.stdout
    assert project.results() == before
    assert len(project.mlflow_runs()) == runs


# --- One's own images -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def of_table(
    project: Project,
    tmp_path_factory: pytest.TempPathFactory,
    drawn_texts: dict[str, set[str]],
) -> Callable[[str], Any]:
    """What a run of both methods leaves of 300 images that a table gives labels and bias."""
    raw_dir = tmp_path_factory.mktemp("table")
    rows = []
    for i in range(300):
        bias = i % 2 if i // 2 % 10 else 1 - i % 2
        path = write_image(raw_dir / "photos" / f"{i:03}", i)
        rows.append(
            {
                "path": path.relative_to(raw_dir).as_posix(),
                "label": LABELS[i % 2],
                "bias": BIASES[bias],
                "herd": i % 7,
            }
        )
    pd.DataFrame(rows).to_csv(raw_dir / "table.csv", index=False)
    setting = {"dataset": "folder", "raw_dir": str(raw_dir)}
    with pytest.MonkeyPatch.context() as patch:
        for drawing in (method_figures, comparison_figures):
            patch.setattr(drawing, "to_svg", noting_texts(drawn_texts))
        ran(Project(project.path, draws=True), **setting, **TINY_DISENT)
    return project.catalog(**setting).load


@pytest.fixture(scope="module")
def drawn_texts() -> dict[str, set[str]]:
    """The words in each figure of `of_table`; the files hold only their outlines."""
    return {}


def noting_texts(texts: dict[str, set[str]]) -> Callable[[Figure, str], str]:
    def to_svg(figure: Figure, name: str) -> str:
        texts[name] = {each.get_text() for each in figure.findobj(Text)}
        return write_svg(figure, name)

    return to_svg


def test_300_images_of_all_kinds_by_a_table(of_table: Callable[[str], Any]):
    manifest = of_table("manifest")
    assert of_table("images").shape == (300, 22, 22, 3)
    assert manifest["conflicting"].sum() == 30
    assert manifest["herd"].between(0, 6).all(), "further columns are kept"
    for method in METHODS:
        assert_complete(of_table(f"{method}.metrics"))
    assert of_table("disent.metrics")["conflict_detection_auroc"]["mean"] is not None
    weights = of_table("disent.sample_weights")
    assert weights["weight"].notna().all()
    assert len(weights) == (manifest["split"] == "train").sum() == 210


@pytest.mark.parametrize("name", ["vanilla.report", "disent.report", "comparison_report"])
def test_a_report_names_labels_and_bias(name: str, of_table: Callable[[str], Any]):
    report = of_table(name)
    assert not [each for each in (*LABELS, *BIASES) if each not in report]
    # The library of charts and images in base64 may contain it.
    assert "NaN" not in re.sub(r"<script>.*?</script>|base64,[^\"]+", "", report, flags=re.S)


def test_figures_of_groups_and_images_name_them_too(
    of_table: Callable[[str], Any], drawn_texts: dict[str, set[str]]
):
    assert of_table("disent.figures").keys() == {
        name.removeprefix("disent-") for name in drawn_texts if name.startswith("disent-")
    }
    for name in (
        "disent-sample_grid",
        "disent-group_heat_map",
        "disent-most_conflicting",
        "compared_group_heat_maps",
    ):
        words = {word for text in drawn_texts[name] for word in text.splitlines()}
        assert {*LABELS, *BIASES} <= words, name
    assert "label" in drawn_texts["disent-group_heat_map"]
    assert "bias" in drawn_texts["disent-group_heat_map"]


@pytest.fixture(scope="module")
def of_class_folders(
    project: Project, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Any]:
    """What a run of both methods leaves of images in class folders, without bias labels."""
    raw_dir = tmp_path_factory.mktemp("class_folders")
    for i in range(60):
        write_image(raw_dir / LABELS[i % 2] / f"{i:03}", i)
    setting = {"dataset": "folder", "raw_dir": str(raw_dir)}
    ran(project, **setting, **TINY_DISENT)
    return project.catalog(**setting).load


def test_without_bias_labels_what_they_tell_is_null(of_class_folders: Callable[[str], Any]):
    assert of_class_folders("manifest")["conflicting"].isna().all()
    none = {"mean": None, "std": None, "per_seed": [None]}
    for method in METHODS:
        metrics = of_class_folders(f"{method}.metrics")
        assert metrics["conflict_detection_auroc"] == none
        assert metrics["checkpoints"]["selected"] is None
        for choice in ("last", "best_on_test"):
            figures = metrics["checkpoints"][choice]
            assert 0 <= figures["accuracy"]["mean"] <= 1
            assert all(figures[name] == none for name in ACCURACIES if name != "accuracy")
        assert of_class_folders(f"{method}.group_accuracy").empty
    assert of_class_folders("disent.sample_weights")["weight"].notna().all()


@pytest.mark.parametrize("name", ["vanilla.report", "disent.report", "comparison_report"])
def test_without_bias_labels_reports_say_why(name: str, of_class_folders: Callable[[str], Any]):
    report = of_class_folders(name)
    assert "no test image has a bias label" in report
    assert "no validation image has a bias label" in report
    assert "have no bias labels" in report
    assert "nbiased" not in report
    assert all(label in report for label in LABELS)
    assert ">nan" not in report.lower()


@pytest.fixture(scope="module")
def of_biased_folders(
    project: Project, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Callable[[str], Any]]:
    """What a run prints and leaves of images of which one in ten is against the bias.

    None of those is in the validation split.
    """
    raw_dir = tmp_path_factory.mktemp("biased_folders")
    rows = []
    for i in range(200):
        split = ("train", "train", "train", "valid", "test")[i // 2 % 5]
        against = split != "valid" and i % 20 in (0, 9)
        write_image(raw_dir / f"{i}", i)
        (file,) = raw_dir.glob(f"{i}.*")
        bias = BIASES[1 - i % 2 if against else i % 2]
        rows.append({"path": file.name, "label": LABELS[i % 2], "bias": bias, "split": split})
    pd.DataFrame(rows).to_csv(raw_dir / "table.csv", index=False)
    setting = {"dataset": "folder", "raw_dir": str(raw_dir)}
    return ran(project, **setting, **TINY_DISENT), project.catalog(**setting).load


def test_accuracy_on_a_biased_test_split_is_nowhere_called_unbiased(
    of_biased_folders: tuple[str, Callable[[str], Any]],
):
    printed, left = of_biased_folders
    pages = [left(name) for name in ("vanilla.report", "disent.report", "comparison_report")]
    for text in (printed, *pages):
        assert "nbiased" not in text
    for text in (printed, *pages):
        assert "the test split is biased itself" in " ".join(text.split())
    assert all("no bias-conflicting image in the validation split" in page for page in pages)


def test_the_command_on_a_page_makes_its_results_again(
    project: Project, of_biased_folders: tuple[str, Callable[[str], Any]]
):
    _, left = of_biased_folders
    before = left("disent.metrics")
    block = re.search(r"<pre><code>(.*?)</code>", left("disent.report"), re.DOTALL)
    assert block is not None
    kedro, run, *arguments = shlex.split(html.unescape(block[1]))
    assert (kedro, run) == ("kedro", "run")
    files = len(project.files("08_reporting/**/disent/metrics.json/*/*"))
    assert project.run(*arguments).exit_code == 0
    assert len(project.files("08_reporting/**/disent/metrics.json/*/*")) == files + 1
    assert left("disent.metrics") == before


# --- README ---------------------------------------------------------------------------------------


def test_your_own_data_in_five_lines(tmp_path: Path):
    """The lines are typed as they stand; only the recipe is cut short."""
    project = make_project(tmp_path / "project")
    (project.path / ".venv").symlink_to(Path(sys.prefix))
    for i in range(60):
        bias = i % 2 if i // 2 % 10 else 1 - i % 2
        write_image(project.path / "my_photos" / LABELS[i % 2] / BIASES[bias] / f"{i}", i)
    lines = readme_lines("Your own data in five lines")
    assert len(lines) == 5
    short = ",".join(f"{name.replace('__', '.')}={TINY[name]}" for name in TINY)
    assert lines[-1].endswith("--params dataset=folder,raw_dir=my_photos")
    typed = "\n".join([*lines[:-1], f"{lines[-1]},{short}"])
    done = subprocess.run(
        ["bash", "-e"],
        input=typed,
        cwd=project.path,
        env={**os.environ, "DO_NOT_TRACK": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    shown = re.search(r"^comparison report: (\S+)$", done.stdout, re.MULTILINE)
    assert shown is not None
    assert all(name in (project.path / shown[1]).read_text("utf-8") for name in (*LABELS, *BIASES))
    weights = pd.read_parquet(project.file("07_model_output/**/disent/sample_weights.parquet/*/*"))
    assert weights["weight"].notna().all()
    manifest = pd.read_parquet(project.file("03_primary/**/manifest.parquet"))
    files = weights.merge(manifest, on="image_id")["source"]
    assert all((project.path / "my_photos" / place).is_file() for place in files)


def readme_lines(section: str) -> list[str]:
    """The first block of code in a section."""
    readme = (CHECKOUT / "README.md").read_text("utf-8")
    text = readme.split(f"\n## {section}\n")[1].split("\n## ")[0]
    block = re.search(r"(?:^ {4}.*\n)+", text, re.MULTILINE)
    assert block is not None
    return textwrap.dedent(block[0]).splitlines()


# --------------------------------------------------------------------------------------------------


def write_noise(path: Path, seed: int, side: int = 48) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def write_image(path: Path, number: int) -> Path:
    """Write one of the kinds of files that people have, in one of thirty sizes."""
    kind = KINDS[number % len(KINDS)]
    size = (20 + number % 6, 24 + number // 6 % 5)
    value = number % 250
    path = path.with_suffix(f".{SUFFIXES.get(kind, 'png')}")
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("RGB", size, (value, 255 - value, 128))
    if kind == "grey":
        image = image.convert("L")
    elif kind == "palette":
        image = image.quantize(4)
    elif kind == "deep":
        image = Image.fromarray(np.full(size[::-1], value * 257, np.uint16))
    elif kind == "alpha":
        image.putalpha(value)
    exif = Image.Exif()
    exif[0x0112] = 6 if kind == "turned" else 1
    image.save(path, exif=exif)
    return path


def assert_complete(metrics: dict[str, Any]) -> None:
    """Every figure of every checkpoint is there."""
    assert list(metrics["checkpoints"]) == ["last", "selected", "pseudo_groups", "best_on_test"]
    for figures in metrics["checkpoints"].values():
        for name in ACCURACIES:
            mean = figures[name]["mean"]
            # Null where a group of training images has no test image.
            assert 0 <= mean <= 1 if mean is not None else name == "adjusted_average_accuracy"


def percentage(figure: dict[str, Any]) -> str:
    return f"{100 * figure['mean']:.1f}"


def table_rows(report: str) -> Iterator[str]:
    for row in re.findall(r"<tr.*?</tr>", report, re.DOTALL):
        yield " ".join(re.sub(r"<[^>]*>", " ", row).split())
