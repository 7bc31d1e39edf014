"""`kedro viz build` of a real run, opened in Chromium."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from forked_kedro import ForkedKedro
from throwaway_project import Project

from in_browser import needs_chromium, opened, served

pytestmark = needs_chromium
# Kedro-Viz asks Google for a font, and what it builds lacks a file that it asks for.
ITS_OWN_FAULTS = {
    "https://fonts.googleapis.com/**": "",
    "**/api/metadata": json.dumps(
        {
            "has_missing_dependencies": False,
            "package_compatibilities": [
                {"package_name": "fsspec", "package_version": "1", "is_compatible": True}
            ],
        }
    ),
}


@pytest.fixture
def built(project: Project) -> Iterator[tuple[Project, Path]]:
    log = project.path / "log"
    arguments = ["viz", "build", "--include-previews", "--include-hooks"]
    environment = {**os.environ, "DO_NOT_TRACK": "1"}
    building = ForkedKedro(arguments, project.path, environment, log, draws=True)
    assert building.wait(300) == 0, log.read_text()
    yield project, project.path / "build"


def test_nodes_have_previews_of_the_run_and_descriptions(built: tuple[Project, Path]) -> None:
    project, folder = built
    main = json.loads((folder / "api/main").read_text())
    ids = {node.get("full_name", node["name"]): node["id"] for node in main["nodes"]}
    assert main["layers"] == ["primary", "models", "model_output", "reporting"]
    with served(folder) as url, opened(f"{url}/", answers=ITS_OWN_FAULTS) as page:
        page.locator(".pipeline-node").filter(has_text="disent").first.wait_for()

        def select(name: str) -> None:
            page.goto(f"{url}/?pid=__default__&sid={ids[name]}")
            page.locator(".pipeline-metadata__title").get_by_text(name.split(".")[-1]).wait_for()

        select("disent.metrics")
        accuracy = project.load("disent.metrics")["checkpoints"]["last"]["accuracy"]
        row = page.locator(".preview-table tr").filter(has_text="last")
        assert f"{100 * accuracy['mean']:.1f}" in row.inner_text()
        select("manifest")
        assert page.locator(".preview-table tr").nth(1).inner_text().startswith("0\ttrain")
        for name in ("images", "disent.figures"):
            select(name)
            picture = page.locator("img.pipeline-metadata__plot-image")
            picture.wait_for()
            assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") > 400
        select("disent.history")
        page.locator(".js-plotly-plot .scatterlayer .trace").first.wait_for()
        select("disent.checkpoint")
        page.get_by_text("Networks of every seed and selection rule.").wait_for()
        select("disent.train")
        page.get_by_text("Train a method for all seeds together.", exact=True).wait_for()

        page.goto(f"{url}/?pid=benchmark")
        page.locator(".pipeline-node").filter(has_text="cmnist_mini_2pct").first.wait_for()
        shown = page.locator(".pipeline-node--modularPipeline")
        assert {*shown.all_text_contents()} == {"cmnist_mini_2pct", "cmnist_mini_5pct"}
