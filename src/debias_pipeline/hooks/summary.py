"""Print the headline table and the paths of the reports at the end of a run."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast

from kedro.pipeline import Pipeline
from rich.console import Console
from rich.style import Style
from rich.table import Table
from rich.text import Text

from debias_pipeline.errors import UserError
from debias_pipeline.grid import Catalog, check_outcomes, chosen_trials, load_or_none, trials_of
from debias_pipeline.hooks.report_index import update_index
from debias_pipeline.io import location
from debias_pipeline.methods import method_names
from debias_pipeline.pipeline_registry import baseline_first
from debias_pipeline.pipelines.audit import AUDIT
from debias_pipeline.pipelines.evaluation import PRETRAINED
from debias_pipeline.pipelines.reporting import method_result
from debias_pipeline.records import TrainingRecord
from debias_pipeline.reporting import (
    estimates_text,
    headline_table,
    terminal_leaderboard,
    tuning_table,
    verdict_text,
)
from debias_pipeline.tuning import TUNE

# Ends of the names of the entries whose paths are printed.
_PRINTED: Final = (
    *("report", "_page", "image_predictions", "suspects", "to_label", ".tuning"),
    "leaderboard_tables",
)
_WIDTH_OF_FILES: Final = 160


def print_summary(pipeline: Pipeline, catalog: Catalog) -> None:
    """Print the tables of the run, the paths of its reports, and the URL of the index page.

    Raises:
        UserError: if trials of the grid, or all trials of a tuned method, failed.
    """
    outputs, parameters = pipeline.all_outputs(), catalog.load("parameters")
    names = (f"{name}.metrics" for name in (*method_names(), PRETRAINED))
    evaluated = baseline_first(name for name in names if name in outputs)
    console = Console()
    is_file = not (console.is_terminal or console.is_jupyter)
    if is_file and "COLUMNS" not in os.environ:
        # rich takes 80 columns for files and pipes, and would wrap the tables.
        console.width = _WIDTH_OF_FILES
    if evaluated:
        table = _headline_table([name.split(".")[0] for name in evaluated], catalog, parameters)
        console.print(table)
    if f"{AUDIT}.verdict" in outputs:
        verdict = catalog.load(f"{AUDIT}.verdict")
        console.print(verdict_text(verdict), soft_wrap=is_file)
    for name in (*evaluated, f"{AUDIT}.metrics"):
        entry = f"{name.removesuffix('metrics')}label_estimates"
        if entry in outputs and (estimates := catalog.load(entry))["labelled"]:
            text = estimates_text(entry.split(".")[0], estimates)
            console.print(text, soft_wrap=is_file)
    if "leaderboard_json" in outputs:
        console.print(terminal_leaderboard(catalog.load("leaderboard_json")))
    tuning = catalog.load(f"{TUNE}.tuning") if f"{TUNE}.tuning" in outputs else None
    if tuning:
        console.print(tuning_table(tuning))
        for method in tuning["methods"].values():
            # Printed instead of shown by rich, so that it can be copied.
            print(method["command"] or "")
    reports = sorted(name for name in outputs if name.endswith(_PRINTED))
    # For published networks, and where there is no report, show the path of the metrics.
    files = [*reports, *(name for name in evaluated if not reports or PRETRAINED in name)]
    for name in files:
        path = location(catalog.get(name)).removeprefix(f"{Path.cwd()}{os.sep}")
        # Printed instead of logged, as a log handler would wrap the path.
        print(f"{name.replace('.', ' ').replace('_', ' ')}: {path}")
    if index := update_index(pipeline, catalog):
        # Not wrapped, so that it can be copied; a link where the output is a terminal.
        console.print(Text(index, Style(link=index)), soft_wrap=True)
    if tuning and (failed := [k for k, v in tuning["methods"].items() if v["best"] is None]):
        raise UserError(
            f"All trials of {', '.join(failed)} failed; the errors are in the log above, and "
            "resume=false tries them again"
        )
    trials = chosen_trials(trials_of(parameters), pipeline)
    check_outcomes(
        trials,
        {trial.name: load_or_none(catalog, f"{trial.name}.outcome") for trial in trials},
    )


def _headline_table(
    namespaces: Sequence[str], catalog: Catalog, parameters: Mapping[str, Any]
) -> Table:
    results, data_card = [], catalog.load("data_card")
    for namespace in namespaces:
        metrics = catalog.load(f"{namespace}.metrics")
        record = cast(TrainingRecord, load_or_none(catalog, f"{namespace}.training_record") or {})
        of_method = parameters[metrics["method"]]
        results.append(
            method_result(
                namespace,
                parameters["typed"],
                data_card,
                metrics=metrics,
                training_record=record,
                recipe=of_method.get("recipe", {}),
                replaced_defaults=of_method.get("replaced_defaults", {}),
                published_accuracy=of_method["published_accuracy"],
            )
        )
    return headline_table(results, data_card)
