import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).parent / "reporting"))
from made_up_grids import a_grid, done

from debias_pipeline.reporting import TrialResult, make_leaderboard

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


def save(refresh: ModuleType, version: str, cells: list[TrialResult]) -> None:
    path = refresh.LEADERBOARD / version / "leaderboard.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(make_leaderboard(cells)), encoding="utf-8")


@pytest.mark.slow
def test_latest_leaderboard_of_a_data_set_goes_between_its_marks(refresh: ModuleType) -> None:
    other = done("vanilla", [0.1, 0.2, 0.3], dataset="bffhq")
    save(refresh, "2026-01-01", [done("vanilla", [0.9, 0.9, 0.8])])
    save(refresh, "2026-01-02", [*a_grid(), other])
    save(refresh, "2026-01-03", [other])
    refresh.RESULTS.write_text(f"# Results\n\n{BEGIN}\nold\n{END}\n\nMore\n", encoding="utf-8")

    refresh.leaderboard("cmnist")
    text = refresh.RESULTS.read_text(encoding="utf-8")
    assert "| disent | none | *not run* | **85.0 ± 1.0**" in text
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
    with pytest.raises(SystemExit, match=r"No leaderboard in .* cmnist: run the grid first"):
        refresh.leaderboard("cmnist")
    save(refresh, "2026-01-01", a_grid())
    with pytest.raises(SystemExit, match="must have the line <!-- leaderboard of cmnist --> once"):
        refresh.leaderboard("cmnist")
    assert refresh.RESULTS.read_text(encoding="utf-8") == "# Results\n"


def test_regret_of_selection_rules_is_the_mean_over_seeds_in_points(
    refresh: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    for name in ("REPORTING", "MODEL_OUTPUT"):
        monkeypatch.setattr(refresh, name, tmp_path / name)
    accuracy = {"last": [0.5, 0.7], "pseudo_groups": [0.8, 0.8], "best_on_test": [0.8, 0.9]}
    checkpoints = {rule: {"accuracy": {"per_seed": each}} for rule, each in accuracy.items()}
    metrics = {
        "percent": "2pct", "method": "lff", "headline": "accuracy", "seeds": [3, 4],
        "checkpoints": {**checkpoints, "selected": None},
    }  # fmt: skip
    folder = tmp_path / "REPORTING/cmnist/2pct/lff/metrics.json/1"
    folder.mkdir(parents=True)
    (folder / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    folder = tmp_path / "MODEL_OUTPUT/cmnist/2pct/lff/history.parquet/1"
    folder.mkdir(parents=True)
    pd.DataFrame(
        {
            "step": [1, 1, 2, 2],
            "seed": [3, 4, 3, 4],
            "test_accuracy": [0.2, 0.9, 0.8, 0.3],
            "valid_accuracy": [0.99, 0.5, 0.9, 0.6],
            "valid_worst_class_accuracy": [0.1, 0.2, 0.3, 0.1],
        }
    ).to_parquet(folder / "history.parquet")
    refresh.selection(["cmnist"])
    _, head, _, row, *summary = capsys.readouterr().out.splitlines()
    assert head.split(" | ")[2:] == [
        "best on test", "last", "selected", "pseudo-groups", "plain validation", "worst class |"
    ]  # fmt: skip
    assert row == (
        "| 2pct | lff | 85.0 ± 7.1 | 25.0 ± 7.1 | – | 5.0 ± 7.1 | 60.0 ± 0.0 | 0.0 ± 0.0 |"
    )
    assert "| plain validation | 60.0 | 60.0 | 40.0 |" in summary
    assert "| worst class | 0.0 | 0.0 | -20.0 |" in summary
