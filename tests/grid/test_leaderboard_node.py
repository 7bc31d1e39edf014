from typing import Any

import pytest
from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import SequentialRunner

from debias_pipeline.errors import Unreadable, UserError
from debias_pipeline.grid import trials_of
from debias_pipeline.grid.leaderboard import _with_used_threads, create_leaderboard
from debias_pipeline.published import PublishedAccuracy
from debias_pipeline.selection_rules import SELECTION_RULES

METHODS = ("vanilla", "disent")


def published(accuracy: float) -> PublishedAccuracy:
    about = {"metric": "accuracy", "average_accuracy": None}
    source = {**about, "source": "a paper", "selection": "best_on_test", "seeds": 3, "note": ""}
    return PublishedAccuracy(accuracy=accuracy, **source)  # type: ignore[typeddict-item]


def parameters(**grid: Any) -> dict[str, Any]:
    setting = {
        "data_folder": "cmnist/0.5pct",
        "images_folder": "cmnist/0.5pct",
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
        "threads": 1,
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
    of_trials: dict[str, tuple[dict[str, Any] | None, dict[str, Any] | None]],
    data_card: Any = None,
    references: Any = None,
) -> dict[str, Any]:
    """What the pipeline makes of metrics and outcome by method."""
    catalog = DataCatalog({"parameters": MemoryDataset(parameters())})
    catalog["cmnist_0_5pct.data_card"] = MemoryDataset(data_card)
    catalog["references"] = MemoryDataset(references)
    for method, (its_metrics, its_outcome) in of_trials.items():
        catalog[f"cmnist_0_5pct.{method}.metrics"] = MemoryDataset(its_metrics)
        catalog[f"cmnist_0_5pct.{method}.outcome"] = MemoryDataset(its_outcome)
    made = create_leaderboard(trials_of(parameters()))
    return {k: v.load() for k, v in SequentialRunner().run(made, catalog).items()}


def test_what_is_there_is_ranked_and_the_rest_is_not_run() -> None:
    outputs = ranked({"vanilla": (metrics("vanilla"), outcome()), "disent": (None, None)})
    assert outputs.keys() == {
        "leaderboard",
        "leaderboard_json",
        "leaderboard_figures",
        "leaderboard_page",
        "leaderboard_tables",
    }
    assert outputs["leaderboard"]["status"].tolist() == ["done", "not run"] * len(SELECTION_RULES)
    published = {
        (row["method"], row["protocol"]): row["published"]
        for row in outputs["leaderboard_json"]["rows"]
    }
    assert published["vanilla", "best_on_test"] == 0.3519
    assert published["vanilla", "last"] is None
    assert "http://runs.example/#/experiments/1/runs/abc" in outputs["leaderboard_page"]
    assert "| vanilla | none | 50.0 ± 10.0 |" in outputs["leaderboard_tables"]["leaderboard.md"]
    assert list(outputs["leaderboard_figures"]) == ["cmnist"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("data_card", "status"),
    [
        ({"content_hash": "old"}, "done"),
        ({"content_hash": "new"}, "not run"),
        (None, "done"),
        (Unreadable("damaged"), "done"),
        ({"made by": "an earlier version"}, "done"),
    ],
)
def test_results_on_data_that_has_changed_since_are_not_ranked(data_card: Any, status: str) -> None:
    old = (metrics("vanilla"), {**outcome(), "content_hash": "old"})
    failed = (None, outcome("failed", "out of memory"))
    ranks = ranked({"vanilla": old, "disent": failed}, data_card)["leaderboard"]
    assert ranks["status"].tolist() == [status, "failed"] * len(SELECTION_RULES)


def test_failed_trials_alone_still_make_a_leaderboard() -> None:
    outputs = ranked(dict.fromkeys(METHODS, (None, outcome("failed", "out of memory"))))
    assert "out of memory" in outputs["leaderboard_page"]
    assert outputs["leaderboard_figures"] == {}


def test_nothing_run_is_one_line_with_the_remedy() -> None:
    with pytest.raises(UserError, match="kedro run --pipeline=benchmark"):
        ranked(dict.fromkeys(METHODS, (None, None)))


def test_a_result_that_cannot_be_read_is_one_line_that_names_it() -> None:
    with pytest.raises(UserError, match=r"metrics\.json cannot be read"):
        ranked(
            {
                "vanilla": (Unreadable("metrics.json cannot be read"), outcome()),
                "disent": (None, None),
            }
        )


def test_the_command_that_repeats_the_grid_has_the_threads_of_its_trials() -> None:
    def typed_threads(*rows: dict[str, Any]) -> Any:
        given = parameters(threads="auto")
        return _with_used_threads(given, {"rows": rows})["benchmark"]["threads"]  # type: ignore[typeddict-item]

    own, reference = {"threads": 2, "reference": ""}, {"threads": 1, "reference": "commit 1"}
    assert typed_threads(own, reference) == 2
    assert typed_threads(own, {**own, "threads": 1}) == "auto"


def test_any_choice_of_trials_by_tag_ends_with_the_leaderboard() -> None:
    made = create_leaderboard(trials_of(parameters()))
    for tag in ("cmnist", "0.5pct", "cmnist_0_5pct", "disent", "trial", "leaderboard"):
        assert made.only_nodes_with_tags(tag).nodes
    assert create_leaderboard([]).nodes == []
