"""Run the notebooks, and read what they show."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from throwaway_project import CHECKOUT

if TYPE_CHECKING:
    import nbformat  # takes seconds to import

NOTEBOOK = CHECKOUT / "notebooks" / "inspect_run.ipynb"
COMPARISON = CHECKOUT / "notebooks" / "compare_methods.ipynb"
PHOTOS = CHECKOUT / "notebooks" / "your_photos.ipynb"


def executed(
    notebook_file: Path,
    start_in: Path,
    monkeypatch: pytest.MonkeyPatch,
    *settings: Mapping[str, str],
) -> list[nbformat.NotebookNode]:
    """Run all cells for each change of the settings at the top, one after the other in a kernel."""
    import nbformat
    from nbclient import NotebookClient

    passes = [nbformat.read(notebook_file, as_version=4) for _ in settings]
    for notebook, changes in zip(passes, settings, strict=True):
        top = next(cell for cell in notebook.cells if cell.cell_type == "code")
        top.source += "".join(f"\n{name} = {value!r}" for name, value in changes.items())
    monkeypatch.setenv("DO_NOT_TRACK", "1")
    joined = copy(passes[0])
    joined.cells = [cell for notebook in passes for cell in notebook.cells]
    NotebookClient(joined, timeout=90, resources={"metadata": {"path": str(start_in)}}).execute()
    return passes


def outputs(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def tables_of(notebook: nbformat.NotebookNode) -> list[str]:
    found = [output.get("data", {}).get("text/html") for output in outputs(notebook)]
    return [table for table in found if table and "<table" in table]


def pictures(notebook: nbformat.NotebookNode) -> int:
    return sum("image/png" in output.get("data", {}) for output in outputs(notebook))


def text(notebook: nbformat.NotebookNode) -> str:
    return "".join(output.get("text", "") for output in outputs(notebook))
