"""The documentation site: it builds without a warning, and its pages work in a browser."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from throwaway_project import CHECKOUT, Project

from in_browser import (
    DESKTOP,
    PHONE,
    chromium,
    needs_chromium,
    opened,
    serious_barriers,
    served,
)

if TYPE_CHECKING:
    from playwright.sync_api import Page


@pytest.fixture(scope="module")
def site(trained_project: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site, with a report of another test instead of the sample reports."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "reports").mkdir()
    report = trained_project.file("08_reporting/**/comparison_report.html/*/*.html")
    shutil.copy(report, folder / "reports" / "comparison.html")
    shutil.copytree(report.parent / "tables", folder / "reports" / "comparison_tables")
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


def test_every_catalog_entry_of_the_reference_is_described(site: Path):
    text = (site / "catalog.html").read_text("utf-8")
    rows = re.findall(r"<tr>\s*<td><code>(.+?)</code></td>\s*<td>(.*?)</td>", text)
    assert len(rows) > 20
    assert [name for name, description in rows if not description] == []


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


def test_tables_of_sample_reports_are_files(site: Path):
    published = {path.name for path in (site / "sample_reports" / "comparison_tables").iterdir()}
    assert published == {"accuracy.csv", "accuracy.md", "accuracy.tex"}


@needs_chromium
def test_pages_have_no_errors_foreign_requests_or_serious_barriers(site: Path):
    faults: list[object] = []
    index, *others = ("index", "methods", "parameters", "sample_reports")
    with served(site) as url, chromium() as browser:
        for size, scheme, names in (
            (PHONE, "light", others),
            (DESKTOP, "dark", others),
            # The header and the navigation, which differ most, are the same on all pages.
            (PHONE, "dark", []),
            (DESKTOP, "light", []),
        ):
            with opened(f"{url}/{index}.html", size, scheme, browser=browser) as page:
                page.on("console", lambda message: faults.append(message.text))
                faults.extend(faults_of(page))
                for name in names:
                    page.goto(f"{url}/{name}.html")
                    faults.extend(faults_of(page))
    assert faults == []


def faults_of(page: "Page") -> list[object]:
    width = page.viewport_size["width"]
    found: list[object] = [*serious_barriers(page)]
    if page.evaluate("document.documentElement.scrollWidth") > width:
        found.append(f"wider than {width} pixels")
    return [(page.url, width, fault) for fault in found]
