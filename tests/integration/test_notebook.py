"""The notebook runs from top to bottom on what a run has left."""

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


@pytest.fixture
def project_with_notebook(project: Project) -> Project:
    (project.path / "notebooks").mkdir()
    shutil.copy(NOTEBOOK, project.path / "notebooks")
    return project


def executed(
    project: Project, start_in: Path, monkeypatch: pytest.MonkeyPatch, **settings: str
) -> nbformat.NotebookNode:
    """Run all cells in a kernel of their own, after a change of the settings at the top."""
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(project.path / "notebooks" / NOTEBOOK.name, as_version=4)
    top = next(cell for cell in notebook.cells if cell.cell_type == "code")
    top.source += "".join(f"\n{name} = {value!r}" for name, value in settings.items())
    monkeypatch.setenv("DO_NOT_TRACK", "1")
    client = NotebookClient(notebook, timeout=90, resources={"metadata": {"path": str(start_in)}})
    return client.execute()


def outputs(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


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
    tables = [
        each.data["text/html"] for each in outputs(notebook) if "text/html" in each.get("data", {})
    ]
    assert any("best_on_test" in table for table in tables)
    assert any("3500" in table for table in tables)
    assert "of 40 are bias-conflicting" in text(notebook)
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


def test_holds_no_outputs():
    code = [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if "outputs" in cell]
    assert code
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
