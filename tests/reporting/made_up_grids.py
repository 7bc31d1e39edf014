"""Made-up trials of a grid with given accuracies by seed."""

from collections.abc import Mapping, Sequence
from typing import Any

from made_up_published import published
from made_up_runs import METRIC_KEYS, summary

from debias_pipeline.reporting import TrialResult

SEEDS = (0, 1, 2)


def make_metrics(
    method: str,
    per_seed: Sequence[float | None],
    seeds: Sequence[int] = SEEDS,
    dataset: str = "cmnist",
    percent: str = "2pct",
    headline: str = "accuracy",
    selected: bool = True,
    unbiased_test: bool | None = True,
) -> dict[str, Any]:
    """Every metric of every checkpoint is `per_seed`."""
    checkpoint = {key: summary(*per_seed) for key in METRIC_KEYS}
    checkpoint["step"] = summary(*[4000.0] * len(per_seed))
    return {
        "dataset": dataset,
        "percent": percent,
        "method": method,
        "headline": headline,
        "unbiased_test": unbiased_test,
        "seeds": list(seeds),
        "checkpoints": {
            "last": checkpoint,
            "selected": checkpoint if selected else None,
            "pseudo_groups": checkpoint,
            "best_on_test": checkpoint,
        },
        "conflict_detection_auroc": summary(*[None] * len(per_seed)),
    }


def make_outcome(
    method: str, dataset: str = "cmnist", percent: str = "2pct", **changes: Any
) -> dict[str, Any]:
    return {
        "dataset": dataset,
        "percent": percent,
        "method": method,
        "seeds": list(SEEDS),
        "precision": "fp32",
        "steps": 4000,
        "status": "done",
        "error": None,
        "seconds": 754.2,
        "peak_memory_bytes": 640 * 2**20,
        "threads": 1,
        "mlflow_run_id": f"run-of-{method}-{percent}",
        "mlflow_experiment_id": "7",
        **changes,
    }


def done(
    method: str,
    per_seed: Sequence[float | None],
    accuracy: float | None = None,
    outcome: Mapping[str, Any] | None = None,
    **metrics: Any,
) -> TrialResult:
    dataset, percent = metrics.get("dataset", "cmnist"), metrics.get("percent", "2pct")
    seeds = list(metrics.get("seeds", SEEDS))
    return TrialResult(
        dataset,
        percent,
        method,
        make_metrics(method, per_seed, **metrics),
        make_outcome(method, dataset, percent, seeds=seeds, **(outcome or {})),
        None if accuracy is None else published(accuracy),
    )


def failed(
    method: str, error: str, percent: str = "2pct", dataset: str = "cmnist", **trial: Any
) -> TrialResult:
    outcome = make_outcome(method, dataset, percent, status="failed", error=error)
    return TrialResult(
        dataset, percent, method, trial.get("metrics"), outcome, trial.get("published")
    )


def a_grid() -> list[TrialResult]:
    """Two percents and three methods: one significantly best, one failed, one not run."""
    return [
        done("vanilla", [0.66, 0.67, 0.65], 0.6586),
        done("lff", [0.70, 0.71, 0.715], 0.7103),
        done("disent", [0.84, 0.86, 0.85], 0.8479),
        done("vanilla", [0.35, 0.36, 0.37], 0.3519, percent="0.5pct"),
        failed("lff", "no room | <b>left</b>", "0.5pct", published=published(0.525)),
        TrialResult("cmnist", "0.5pct", "disent", published=published(0.6522)),
    ]
