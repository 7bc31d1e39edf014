"""Figures and reports of runs that are made up."""

from collections.abc import Sequence

from made_up_runs import Run

from debias_pipeline.published import PublishedAccuracy
from debias_pipeline.reporting import (
    RecipeChange,
    draw_comparison_figures,
    draw_figures,
    write_comparison_report,
    write_method_report,
)
from debias_pipeline.reporting.suspect_section import SuspectSection

BEST_ON_TEST = (
    "chosen on the test set, as published code does: for comparison with published tables only"
)


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


def method_report(
    run: Run,
    figures: dict[str, str] | None = None,
    published: Sequence[PublishedAccuracy] = (),
    recipe_changes: Sequence[RecipeChange] = (),
    suspects: SuspectSection | None = None,
) -> str:
    figures = figures or {}
    return write_method_report(
        run.metrics,
        figures,
        run.group_accuracy,
        run.manifest,
        run.data_card,
        run.recipe,
        "kedro run --pipeline=disent --params 'raw_dir=my photos'",
        published,
        recipe_changes,
        suspects,
        "weight W",
    )


def comparison_report(
    *runs: Run,
    published: dict[str, list[PublishedAccuracy]] | None = None,
    changes_of: dict[str, list[RecipeChange]] | None = None,
) -> str:
    return write_comparison_report(
        [run.metrics for run in runs],
        compare(*runs),
        [f"kedro run --pipeline={run.metrics['method']}" for run in runs],
        runs[0].data_card,
        published,
        changes_of,
    )
