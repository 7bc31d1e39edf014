import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

sys.path.insert(0, str(Path(__file__).parent / "reporting"))
from made_up_grids import a_grid, done

from debias_pipeline.reporting.leaderboard import CellResult, make_leaderboard

BEGIN, END = "<!-- leaderboard of cmnist -->", "<!-- end of leaderboard of cmnist -->"


@pytest.fixture
def refresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """docs/refresh.py, working on folders of the test."""
    path = Path(__file__).parents[1] / "docs" / "refresh.py"
    spec = importlib.util.spec_from_file_location("refresh", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "IMAGES", tmp_path / "images")
    monkeypatch.setattr(module, "RESULTS", tmp_path / "results.md")
    monkeypatch.setattr(module, "LEADERBOARD", tmp_path / "leaderboard.json")
    return module


def save(refresh: ModuleType, version: str, cells: list[CellResult]) -> None:
    path = refresh.LEADERBOARD / version / "leaderboard.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(make_leaderboard(cells)), encoding="utf-8")


def test_latest_leaderboard_of_a_data_set_goes_between_its_marks(refresh: ModuleType) -> None:
    other = done("vanilla", [0.1, 0.2, 0.3], dataset="bffhq")
    save(refresh, "2026-01-01", [done("vanilla", [0.9, 0.9, 0.8])])
    save(refresh, "2026-01-02", [*a_grid(), other])
    save(refresh, "2026-01-03", [other])
    refresh.RESULTS.write_text(f"# Results\n\n{BEGIN}\nold\n{END}\n\nMore\n", encoding="utf-8")

    refresh.leaderboard("cmnist")
    text = refresh.RESULTS.read_text(encoding="utf-8")
    assert "| disent | *not run* | **85.0 ± 1.0** |" in text
    assert "(images/leaderboard_cmnist.svg)" in text
    assert "old" not in text
    assert "bffhq" not in text
    assert text.startswith("# Results\n\n<!--")
    assert text.endswith("-->\n\nMore\n")
    assert (refresh.IMAGES / "leaderboard_cmnist.svg").read_text(encoding="utf-8")[:4] == "<svg"

    refresh.leaderboard("cmnist")
    assert refresh.RESULTS.read_text(encoding="utf-8") == text


def test_without_marks_or_figures_nothing_is_written(refresh: ModuleType) -> None:
    refresh.RESULTS.write_text("# Results\n", encoding="utf-8")
    with pytest.raises(SystemExit, match=r"No leaderboard in .* has figures of cmnist"):
        refresh.leaderboard("cmnist")
    save(refresh, "2026-01-01", a_grid())
    with pytest.raises(SystemExit, match="must have the line <!-- leaderboard of cmnist --> once"):
        refresh.leaderboard("cmnist")
    assert refresh.RESULTS.read_text(encoding="utf-8") == "# Results\n"
