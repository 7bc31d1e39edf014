"""Figures and reports of runs that are made up."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from made_up_runs import Run

from debias_pipeline.published import PublishedAccuracy
from debias_pipeline.records import TrainingRecord
from debias_pipeline.reporting import (
    MethodResult,
    MethodSections,
    RecipeChange,
    comparison_charts,
    confusions,
    draw_comparison_figures,
    draw_figures,
    method_charts,
    misclassified,
    write_comparison_report,
    write_method_report,
)
from debias_pipeline.reporting.pages.feature_section import FeatureSection
from debias_pipeline.reporting.pages.suspect_section import SuspectSection

BEST_ON_TEST = (
    "chosen on the test set, as published code does: for comparison with published tables only"
)
RECORD: TrainingRecord = {
    "seeds": [3, 4],
    "device": "cpu",
    "precision": "fp32",
    "threads": 1,
    "torch": "2.9",
    "seconds": 754.2,
    "finished": "2026-11-26T14:49:46+00:00",
    "versions": {"PyTorch": "2.9"},
    "commit": "ac112a0",
    "mlflow_run_id": None,
    "settings_digest": "166f00ad",
}


def draw(run: Run) -> dict[str, str]:
    return draw_figures(
        run.metrics,
        run.history,
        run.sample_weights,
        run.group_accuracy,
        run.images,
        run.manifest,
        run.data_card,
    )


def compare(*runs: Run) -> dict[str, str]:
    return draw_comparison_figures(
        [run.metrics for run in runs],
        {run.metrics["method"]: run.history for run in runs},
        {run.metrics["method"]: run.group_accuracy for run in runs},
        runs[0].manifest,
        runs[0].data_card,
    )


def result_of(run: Run, **changes: Any) -> MethodResult:
    record: TrainingRecord = {**RECORD, "recipe": run.recipe}
    command = f"kedro run --pipeline={run.metrics['method']} --params 'raw_dir=my photos'"
    return replace(MethodResult(run.metrics, record, command=command), **changes)


def method_report(
    run: Run,
    figures: dict[str, str] | None = None,
    published: Sequence[PublishedAccuracy] = (),
    recipe_changes: Sequence[RecipeChange] = (),
    suspects: SuspectSection | None = None,
    features: FeatureSection | None = None,
    *,
    with_charts: bool = False,
) -> str:
    charts = method_charts(
        run.metrics,
        run.history,
        run.sample_weights,
        "weight W",
        run.group_accuracy,
        run.data_card,
    )
    page, _ = write_method_report(
        result_of(run, published=published, recipe_changes=recipe_changes),
        figures or {},
        charts if with_charts else {},
        run.group_accuracy,
        run.manifest,
        run.data_card,
        MethodSections(
            confusions(run.predictions, run.manifest, run.data_card),
            misclassified(run.predictions, run.images, run.manifest, run.data_card),
            suspects,
            "weight W",
            features,
        ),
    )
    return page


def comparison_report(
    *runs: Run,
    published: dict[str, list[PublishedAccuracy]] | None = None,
    changes_of: dict[str, list[RecipeChange]] | None = None,
    figures: dict[str, str] | None = None,
    with_charts: bool = False,
) -> str:
    metrics = [run.metrics for run in runs]
    histories = {run.metrics["method"]: run.history for run in runs}
    page, _ = write_comparison_report(
        [
            result_of(
                run,
                record={},
                published=(published or {}).get(run.metrics["method"], []),
                recipe_changes=(changes_of or {}).get(run.metrics["method"], []),
            )
            for run in runs
        ],
        compare(*runs) if figures is None else figures,
        comparison_charts(metrics, histories) if with_charts else {},
        runs[0].data_card,
    )
    return page
