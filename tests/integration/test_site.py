"""The documentation site: it builds without a warning, and its pages work in a browser."""

import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from throwaway_project import CHECKOUT, Project

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
SIZES = ((390, 844), (1280, 900))


@pytest.fixture(scope="module")
def site(trained_project: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site, with a report of another test instead of the sample reports."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "reports").mkdir()
    report = trained_project.file("08_reporting/**/comparison_report.html/*/*.html")
    shutil.copy(report, folder / "reports" / "comparison.html")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder / "html"],
        cwd=CHECKOUT,
        env={**os.environ, "SAMPLE_REPORTS": str(folder / "reports")},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "html"


def test_reference_pages_have_names_of_the_code(site: Path):
    for page, names in {
        "parameters": ("raw_dir", "colour_noise", "swap_start"),
        "catalog": ("disent.metrics", "sample_weights.parquet"),
        "metrics": ("worst_group_accuracy", "pseudo_groups"),
        "commands": ("export-model", "--dry-run"),
    }.items():
        text = (site / f"{page}.html").read_text("utf-8")
        assert [name for name in names if name not in text] == [], page


def test_no_link_of_any_page_is_broken(site: Path):
    """MkDocs checks links of Markdown only, not those of reports and of the theme."""
    broken = [
        (page.name, link)
        for page in site.rglob("*.html")
        if page.name != "404.html"  # has absolute links
        for link in re.findall(r'(?:href|src)="([\w./-]+)["#?]', page.read_text("utf-8"))
        if not (page.parent / link).exists()
    ]
    assert broken == []


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Print nothing."""


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=site)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH")
def test_pages_have_no_errors_foreign_requests_or_serious_barriers(address: str):
    axe = pytest.importorskip("axe_core_python.sync_playwright")
    script = Path(axe.__file__).with_name("axe.min.js").read_text("utf-8")
    faults: list[object] = []
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for width, height in SIZES:
            for scheme in ("light", "dark"):
                context = browser.new_context(
                    viewport={"width": width, "height": height}, color_scheme=scheme
                )
                page = context.new_page()
                page.on("console", lambda message: faults.append(message.text))
                page.on("pageerror", lambda error: faults.append(str(error)))
                page.on(
                    "request",
                    lambda request: (
                        request.url.startswith((address, "data:")) or faults.append(request.url)
                    ),
                )
                for name in ("index", "methods", "parameters", "sample_reports"):
                    page.goto(f"{address}{name}.html")
                    page.evaluate(script)
                    faults.extend(
                        (name, width, scheme, each["id"], each["nodes"][0]["html"][:200])
                        for each in page.evaluate("axe.run()")["violations"]
                        if each["impact"] in ("serious", "critical")
                    )
                    if page.evaluate("document.documentElement.scrollWidth") > width:
                        faults.append(f"{name} is wider than {width} pixels")
                context.close()
        browser.close()
    assert faults == []
