"""What Kedro-Viz shows of datasets, and the descriptions of nodes and of the catalog."""

import base64
import inspect
import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from debias_pipeline.io import (
    AtomicJSONDataset,
    AtomicTextDataset,
    FiguresDataset,
    HistoryDataset,
    ImageArrayDataset,
    MetricsDataset,
)
from debias_pipeline.pipeline_registry import register_pipelines

CATALOG = Path(__file__).parents[2] / "conf/base/catalog.yml"
DESCRIBED = {"description": "Facts & figures."}


def image(preview: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(preview)))


def test_images_are_a_contact_sheet_of_the_whole_array(tmp_path: Path) -> None:
    dataset = ImageArrayDataset(tmp_path / "images.npy")
    images = np.zeros((200, 28, 20, 3), np.uint8)
    images[-1] = 255
    dataset.save(images)
    sheet = image(dataset.preview())
    assert sheet.size == (8 * 80, 5 * 112)
    assert sheet.getpixel((639, 559)) == (255, 255, 255)
    dataset.save(images[-3:])
    assert image(dataset.preview()).size == (8 * 80, 112)
    dataset.save(np.zeros((2, 224, 224, 3), np.uint8))
    assert image(dataset.preview()).size == (8 * 75, 75)


def test_the_first_figure_is_the_one_that_is_shown(tmp_path: Path) -> None:
    dataset = FiguresDataset(tmp_path / "figures")
    svg = '<svg xmlns="http://www.w3.org/2000/svg" width="{}" height="30"/>'
    dataset.save({"main": svg.format(60), "other": svg.format(90)})
    assert image(dataset.preview()).size == (60, 30)
    dataset.save({})
    assert dataset.preview() == ""


def test_metrics_are_a_table_with_a_row_per_rule(tmp_path: Path) -> None:
    dataset = MetricsDataset(filepath=str(tmp_path / "metrics.json"))
    of_rule = {
        "accuracy": {"mean": 0.5, "std": 0.0123, "per_seed": [0.5]},
        "aligned_accuracy": {"mean": None, "std": None, "per_seed": [None]},
        "step": {"mean": 60.0, "std": None, "per_seed": [60.0]},
    }
    dataset.save({"checkpoints": {"last": of_rule, "selected": None}})
    table = dataset.preview(["accuracy", "aligned_accuracy", "step"])
    assert table["columns"] == ["rule", "accuracy (%)", "aligned_accuracy (%)", "step"]
    assert table["data"] == [["last", "50.0\xa0±\xa01.2", "–", "60"]]


def test_a_history_is_a_chart_of_means_over_seeds(tmp_path: Path) -> None:
    dataset = HistoryDataset(filepath=str(tmp_path / "history.parquet"))
    dataset.save(
        pd.DataFrame({"step": [10, 10, 20], "a": [0.2, 0.4, 0.5], "b": [np.nan, np.nan, 0.5]})
    )
    chart = dataset.preview("step", ["a", "b", "no such column"])
    assert [(each["name"], each["x"]) for each in chart["data"]] == [
        ("a", [10, 20]),
        ("b", [10, 20]),
    ]
    assert chart["data"][0]["y"] == pytest.approx([0.3, 0.5])
    assert chart["data"][1]["y"] == [None, 0.5]


def test_the_description_is_shown_where_a_preview_can_hold_it(tmp_path: Path) -> None:
    values = AtomicJSONDataset(filepath=str(tmp_path / "a.json"), metadata=DESCRIBED)
    values.save({"a": 1})
    assert json.loads(values.preview()) == {**DESCRIBED, "a": 1}
    values.metadata = None
    assert json.loads(values.preview()) == {"a": 1}
    page = AtomicTextDataset(filepath=str(tmp_path / "a.html"), metadata=DESCRIBED)
    assert page.preview() == "<p>Facts &amp; figures.</p>"


def test_every_entry_of_the_catalog_has_a_description() -> None:
    entries = yaml.safe_load(CATALOG.read_text("utf-8"))
    without = [
        name
        for name, entry in entries.items()
        if not name.startswith("_") and not entry["metadata"].get("description", "").endswith(".")
    ]
    assert without == []


def test_every_node_is_described_by_its_function() -> None:
    for pipeline in register_pipelines().values():
        for node in pipeline.nodes:
            shown = node.preview()
            assert shown is not None and shown.content.endswith(".")
            assert (inspect.getdoc(node.func) or "").startswith(shown.content)
