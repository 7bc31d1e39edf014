from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import node, pipeline
from kedro.runner import SequentialRunner

from debias_pipeline.errors import Hole, UserError
from debias_pipeline.grid import cells_of
from debias_pipeline.hooks import TrackingHooks
from debias_pipeline.io import AtomicTextDataset, RemadeJSONDataset
from debias_pipeline.pipelines import leaderboard
from debias_pipeline.published import PublishedAccuracy
from debias_pipeline.selection_rules import SELECTION_RULES

METHODS = ("vanilla", "disent")


def published(accuracy: float) -> PublishedAccuracy:
    source = {"source": "a paper", "selection": "best_on_test", "seeds": 3, "note": ""}
    return PublishedAccuracy(accuracy=accuracy, **source)  # type: ignore[typeddict-item]


def parameters(**grid: Any) -> dict[str, Any]:
    setting = {
        "data_folder": "cmnist/0.5pct",
        "vanilla": {"published_accuracy": [published(0.3519)]},
        "disent": {"published_accuracy": [published(0.6522)]},
    }
    benchmark = {
        "datasets": ["cmnist"],
        "percents": ["0.5pct"],
        "methods": [*METHODS],
        "seed": 0,
        "seeds": 2,
        "precision": "fp32",
        "mlflow_ui": "http://runs.example",
        **grid,
    }
    return {"benchmark": benchmark, "cmnist_0_5pct": setting}


def metrics(method: str) -> dict[str, Any]:
    summary = {"mean": 0.5, "std": 0.1, "per_seed": [0.4, 0.6]}
    return {
        "method": method,
        "headline": "accuracy",
        "seeds": [0, 1],
        "checkpoints": {
            "last": {"accuracy": summary},
            "selected": None,
            "best_on_test": {"accuracy": summary},
        },
    }


def outcome(status: str = "done", error: str | None = None) -> dict[str, Any]:
    run = {"mlflow_run_id": "abc", "mlflow_experiment_id": "1"}
    return {"status": status, "error": error, "seconds": 3.0, "seeds": [0, 1], **run}


def ranked(
    of_cells: dict[str, tuple[dict[str, Any] | None, dict[str, Any] | None]],
    data_card: Any = None,
) -> dict[str, Any]:
    """What the pipeline makes of metrics and outcome by method."""
    catalog = DataCatalog({"parameters": MemoryDataset(parameters())})
    catalog["cmnist_0_5pct.data_card"] = MemoryDataset(data_card)
    for method, (its_metrics, its_outcome) in of_cells.items():
        catalog[f"cmnist_0_5pct.{method}.metrics"] = MemoryDataset(its_metrics)
        catalog[f"cmnist_0_5pct.{method}.outcome"] = MemoryDataset(its_outcome)
    made = leaderboard.create_pipeline(cells_of(parameters()))
    return {k: v.load() for k, v in SequentialRunner().run(made, catalog).items()}


def test_what_is_there_is_ranked_and_the_rest_is_a_hole() -> None:
    outputs = ranked({"vanilla": (metrics("vanilla"), outcome()), "disent": (None, None)})
    assert outputs.keys() == {
        "leaderboard",
        "leaderboard_json",
        "leaderboard_figures",
        "leaderboard_page",
        "leaderboard_table",
    }
    assert outputs["leaderboard"]["status"].tolist() == ["done", "not run"] * len(SELECTION_RULES)
    published = {
        (row["method"], row["protocol"]): row["published"]
        for row in outputs["leaderboard_json"]["rows"]
    }
    assert published["vanilla", "best_on_test"] == 0.3519
    assert published["vanilla", "last"] is None
    assert "http://runs.example/#/experiments/1/runs/abc" in outputs["leaderboard_page"]
    assert "| vanilla | 50.0 ± 10.0 |" in outputs["leaderboard_table"]
    assert list(outputs["leaderboard_figures"]) == ["cmnist"]


@pytest.mark.parametrize(
    ("data_card", "status"),
    [
        ({"content_hash": "old"}, "done"),
        ({"content_hash": "new"}, "not run"),
        (None, "done"),
        (Hole("damaged"), "done"),
        ({"made by": "an earlier version"}, "done"),
    ],
)
def test_results_on_data_that_has_changed_since_are_not_ranked(data_card: Any, status: str) -> None:
    old = (metrics("vanilla"), {**outcome(), "content_hash": "old"})
    failed = (None, outcome("failed", "out of memory"))
    ranks = ranked({"vanilla": old, "disent": failed}, data_card)["leaderboard"]
    assert ranks["status"].tolist() == [status, "failed"] * len(SELECTION_RULES)


def test_failed_cells_alone_still_make_a_leaderboard() -> None:
    outputs = ranked(dict.fromkeys(METHODS, (None, outcome("failed", "out of memory"))))
    assert "out of memory" in outputs["leaderboard_page"]
    assert outputs["leaderboard_figures"] == {}


def test_nothing_run_is_one_line_with_the_remedy() -> None:
    with pytest.raises(UserError, match="first kedro run --pipeline=benchmark"):
        ranked(dict.fromkeys(METHODS, (None, None)))


def test_any_choice_of_cells_by_tag_ends_with_the_leaderboard() -> None:
    made = leaderboard.create_pipeline(cells_of(parameters()))
    for tag in ("cmnist", "0.5pct", "cmnist_0_5pct", "disent", "cell", "leaderboard"):
        assert made.only_nodes_with_tags(tag).nodes
    assert leaderboard.create_pipeline([]).nodes == []


def test_a_run_of_what_is_missing_makes_the_leaderboard_anew(tmp_path: Path) -> None:
    calls = []

    def make(_: int) -> tuple[dict[str, int], str]:
        calls.append(1)
        return {"run": len(calls)}, "text"

    made = pipeline([node(make, "given", ["summary", "page"], name="make")])
    catalog = DataCatalog(
        {
            "given": MemoryDataset(1),
            "summary": RemadeJSONDataset(filepath=str(tmp_path / "summary.json")),
            "page": AtomicTextDataset(filepath=str(tmp_path / "page.html")),
        }
    )
    for expected in (1, 2):
        SequentialRunner().run(made, catalog, only_missing_outputs=True)
        assert catalog.load("summary") == {"run": expected}


def test_nothing_is_logged_of_a_hole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logged: list[str] = []
    run = SimpleNamespace(
        key="run", log=lambda **_: None, log_artifact=lambda path, _: logged.append(path)
    )
    monkeypatch.setattr("debias_pipeline.hooks.tracking.active_run", lambda: run)
    metadata = {"mlflow_artifact": "data"}
    page = AtomicTextDataset(filepath=str(tmp_path / "page.html"), metadata=metadata)
    hooks = TrackingHooks()
    hooks.before_node_run(node(lambda: "", None, "page"), DataCatalog({"page": page}), {})
    hooks.after_dataset_saved("page", Hole("no such file"))
    assert logged == []
    page.save("text")
    hooks.after_dataset_saved("page", "text")
    assert len(logged) == 1
