"""The index page at the end of a run, and what `kedro clean-runs` leaves of it."""

import re
import shutil
from pathlib import Path
from urllib.parse import unquote, urlsplit

import mlflow
import pytest
from throwaway_project import Project

SETTING = "08_reporting/cmnist_mini/2pct"
NOISE = ("synchronous mode", "km.random_name", "logging configuration")


def links(page: Path) -> set[str]:
    """The relative links of a page, which must all lead to files, and their fragments to ids."""
    found = re.findall(r'<a href="([^"]+)"', page.read_text("utf-8"))
    for link in found:
        parts = urlsplit(link)
        assert not parts.scheme and not parts.path.startswith("/")
        target = page.parent / unquote(parts.path)
        assert target.is_file(), link
        if parts.fragment:
            assert f'id="{unquote(parts.fragment)}"' in target.read_text("utf-8"), link
    return set(found)


@pytest.fixture(scope="module")
def reported(trained_project: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project after a second run of the reports, in a folder whose name needs quoting."""
    project = trained_project.copy(tmp_path_factory.mktemp("the index") / "project")
    outcome = project.run("--pipeline=reporting", device="cpu")
    assert outcome.exit_code == 0, outcome.stderr
    lines = outcome.stdout.splitlines()
    assert lines[-1] == index_of(project).as_uri()
    assert not [noise for noise in NOISE if noise in outcome.stdout]
    assert "Completed node: disent.report" in outcome.stdout
    return project


@pytest.fixture
def project(reported: Project, tmp_path: Path) -> Project:
    """A copy of it, to do with as one likes."""
    return reported.copy(tmp_path / "project")


@pytest.fixture
def index(project: Project) -> Path:
    return index_of(project)


def index_of(project: Project) -> Path:
    return project.path / "data" / SETTING / "index.html"


def test_every_link_leads_to_a_file_also_after_the_folder_is_moved(
    project: Project, index: Path, tmp_path: Path
):
    moved = tmp_path / "moved to"
    shutil.move(index.parent, moved)
    found = links(moved / "index.html")
    assert len([link for link in found if link.startswith("comparison_report.html/")]) == 2
    for method in ("vanilla", "disent"):
        assert len([link for link in found if link.startswith(f"{method}/report.html/")]) == 2
    assert "disent/suspects.csv" in found
    for pattern in ("*/report.html/*/*.html", "comparison_report.html/*/*.html"):
        pages = list(moved.glob(pattern))
        assert pages
        assert all(any("index.html" in link for link in links(page)) for page in pages)


def test_a_part_of_a_pipeline_updates_it_and_training_alone_does_not(project: Project, index: Path):
    before = index.read_text()
    outcome = project.run("--nodes=disent.draw_figures,disent.report")
    assert outcome.stdout.splitlines()[-1] == index.as_uri()
    assert index.read_text() != before
    links(index)
    training = project.run("--pipeline=ingestion")
    assert "index.html" not in training.stdout


def test_old_versions_are_deleted(project: Project, index: Path):
    before = project.results()
    rehearsal = project.command("clean-runs", "--keep=1", "--dry-run")
    assert project.results() == before
    outcome = project.command("clean-runs", "--keep=1")
    assert outcome.exit_code == 0, outcome.stderr
    assert outcome.stdout.split()[1:] == rehearsal.stdout.splitlines()[-1].split()[2:]
    gone = before.keys() - project.results().keys()
    assert f"{len(gone)} files" in outcome.stdout
    assert f"{sum(before[name][0] for name in gone):,} bytes" in outcome.stdout
    assert all("08_reporting" in name for name in gone)
    for pattern in ("disent/report.html", "comparison_report.html", "disent/figures"):
        assert len(list(index.parent.glob(f"{pattern}/*"))) == 1
    assert len([link for link in links(index) if link.startswith("disent/report.html/")]) == 1
    assert project.run("--pipeline=evaluation").exit_code == 0
    (model, *_) = (project.path / "mlruns/models").glob("*/artifacts")
    assert len(mlflow.pyfunc.load_model(str(model)).predict(_example(model))) == 1


def _example(model: Path):
    return mlflow.pyfunc.load_model(str(model)).input_example


@pytest.mark.parametrize("keep", ["0", "-1", "all"])
def test_a_number_that_deletes_everything_is_refused(keep: str, project: Project):
    outcome = project.command("clean-runs", f"--keep={keep}")
    assert outcome.exit_code != 0
    assert "--keep" in outcome.stderr
