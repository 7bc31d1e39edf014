"""Interactive charts as specifications with their data."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from made_up_runs import Run

from debias_pipeline.reporting import comparison_charts, method_charts
from debias_pipeline.reporting.figures.charts import Chart

TEMPLATE = Path("src/debias_pipeline/reporting/templates/page.html.jinja")


def charts_of(run: Run) -> dict[str, Chart]:
    return method_charts(
        run.metrics, run.history, run.sample_weights, "W", run.group_accuracy, run.data_card
    )


def test_curves_have_means_and_every_seed(disent: Run) -> None:
    lines = charts_of(disent)["learning_curves"].tables["lines"].rows
    of_all = [row for row in lines if row[1] == "test, all"]
    last = {row[0]: row[3] for row in of_all if row[2] == 4000}
    assert set(last) == {"mean", "3", "4"}
    assert last["mean"] == pytest.approx((last["3"] + last["4"]) / 2, abs=1e-4)
    (band,) = [row[4:] for row in of_all if row[0] == "mean" and row[2] == 4000]
    assert band == (min(last["3"], last["4"]), max(last["3"], last["4"]))


def test_what_is_not_known_has_no_chart(vanilla: Run, without_bias_labels: Run) -> None:
    assert set(charts_of(vanilla)) == {"learning_curves", "group_heat_map"}
    assert set(charts_of(without_bias_labels)) == {"learning_curves", "weight_histogram"}


def test_the_histogram_counts_every_image_once(disent: Run) -> None:
    bars = charts_of(disent)["weight_histogram"].tables["bars"].rows
    assert sum(row[3] for row in bars) == disent.sample_weights["image_id"].nunique()


def test_charts_are_valid_json_without_nan_and_the_same_each_time(
    disent: Run, vanilla: Run
) -> None:
    def text() -> str:
        histories = {run.metrics["method"]: run.history for run in (vanilla, disent)}
        compared = comparison_charts([vanilla.metrics, disent.metrics], histories)
        charts = [*charts_of(disent).values(), *compared.values()]
        return json.dumps([chart.as_json() for chart in charts], allow_nan=False)

    assert text() == text()


def luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_colours_of_charts_can_be_told_from_the_ground(scheme: int) -> None:
    blocks = re.findall(r":root \{(.*?)\}", TEMPLATE.read_text(), re.S)
    colours: dict[str, Any] = dict(re.findall(r"--([\w-]+): (#\w{6});", blocks[scheme]))
    marks = ("overall", "aligned", "conflicting", "neutral", *(f"method-{k}" for k in range(6)))
    values = [f"value-{k}" for k in range(10)]
    for name in (*marks, *values, "text", "quiet"):
        assert contrast(colours[name], colours["card"]) >= 4.5, name
    for level in ("low", "high"):
        assert contrast(colours[f"heat-text-{level}"], colours[f"heat-{level}"]) >= 4.5
        assert contrast(colours["outline"], colours[f"heat-{level}"]) >= 3
