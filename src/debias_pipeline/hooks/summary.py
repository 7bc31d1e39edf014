"""Print the headline table and the paths of the reports at the end of a run."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.pipeline import Pipeline
from rich.console import Console

from debias_pipeline.grid import Catalog, check_outcomes, chosen_trials, load_or_none, trials_of
from debias_pipeline.io import location
from debias_pipeline.methods import method_names
from debias_pipeline.pipeline_registry import baseline_first
from debias_pipeline.pipelines.audit import AUDIT
from debias_pipeline.pipelines.evaluation import PRETRAINED
from debias_pipeline.records import Metrics
from debias_pipeline.reporting import (
    RecipeChange,
    default_recipe,
    estimates_text,
    find_recipe_changes,
    headline_table,
    leaderboard_tables,
    verdict_text,
)


class SummaryHooks:
    """Print the results of a run, and fail it if trials of the grid failed."""

    # Runs after all other hooks, so that the MLflow run has ended when this hook raises.
    @hook_impl(trylast=True)
    def after_pipeline_run(self, pipeline: Pipeline, catalog: Catalog) -> None:
        """Print the tables of the run and the paths of its reports.

        Raises:
            UserError: if trials of the grid failed.
        """
        outputs, parameters = pipeline.all_outputs(), catalog.load("parameters")
        names = (f"{name}.metrics" for name in (*method_names(), PRETRAINED))
        evaluated = baseline_first(name for name in names if name in outputs)
        if evaluated:
            metrics = [catalog.load(name) for name in evaluated]
            published = {
                each["method"]: parameters[each["method"]]["published_accuracy"] for each in metrics
            }
            changes_of = {
                each["method"]: _recipe_changes(catalog, name.split(".")[0], parameters, each)
                for name, each in zip(evaluated, metrics, strict=True)
            }
            card = catalog.load("data_card")
            Console().print(headline_table(metrics, published, card, changes_of))
        if f"{AUDIT}.verdict" in outputs:
            Console().print(verdict_text(catalog.load(f"{AUDIT}.verdict")))
        for name in (*evaluated, f"{AUDIT}.metrics"):
            entry = f"{name.removesuffix('metrics')}label_estimates"
            if entry in outputs and (estimates := catalog.load(entry))["labelled"]:
                Console().print(estimates_text(entry.split(".")[0], estimates))
        if "leaderboard_json" in outputs:
            Console().print(leaderboard_tables(catalog.load("leaderboard_json")))
        reports = sorted(
            name
            for name in outputs
            if name.endswith(("report", "_page", "image_predictions", "suspects", "to_label"))
        )
        # For published networks, and where there is no report, show the path of the metrics.
        files = [*reports, *(name for name in evaluated if not reports or PRETRAINED in name)]
        for name in files:
            path = location(catalog.get(name)).removeprefix(f"{Path.cwd()}{os.sep}")
            # Printed instead of logged, as a log handler would wrap the path.
            print(f"{name.replace('.', ' ').replace('_', ' ')}: {path}")
        trials = chosen_trials(trials_of(parameters), pipeline)
        check_outcomes(
            trials,
            {trial.name: load_or_none(catalog, f"{trial.name}.outcome") for trial in trials},
        )


def _recipe_changes(
    catalog: Catalog, namespace: str, parameters: Mapping[str, Any], metrics: Metrics
) -> list[RecipeChange]:
    """Return in what the recipe of a training run differs from the one in the project's files."""
    record = load_or_none(catalog, f"{namespace}.training_record") or {}
    of_method = parameters[metrics["method"]]
    if "recipe" not in record or "recipe" not in of_method:
        return []
    default = default_recipe(of_method["recipe"], of_method["replaced_defaults"])
    return find_recipe_changes(record["recipe"], default)
