"""Cells of the grid: each trains, predicts and judges, and is a hole where that fails."""

import logging
import time
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from debias_pipeline.errors import AlreadyRunningError, Hole, RecipeError, UserError, one_line
from debias_pipeline.grid import OVERRIDES, setting_name
from debias_pipeline.pipelines.benchmark.memory import PeakMemory
from debias_pipeline.pipelines.evaluation.nodes import evaluate, predict_test
from debias_pipeline.pipelines.ingestion.nodes import build_data
from debias_pipeline.pipelines.training.nodes import train_method
from debias_pipeline.records import DataCard
from debias_pipeline.tracking import TrackedRun, trial_run
from debias_pipeline.training import SnapshotStore, limited_threads

logger = logging.getLogger(__name__)

# checkpoint, history, sample_weights, training_record, predictions, metrics, group_accuracy
_RESULTS = 7


def build_setting(
    dataset: str, percent: str, raw_dir: str, data_seed: int, data_options: dict[str, Any]
) -> tuple[Any, Any, Any, Any, str]:
    """Make or read a biased data set; if that fails, its cells are holes and the rest goes on.

    Returns:
        What `ingestion.nodes.build_data` gives, holes where it fails, and what went wrong.
    """
    try:
        return (*build_data(dataset, percent, raw_dir, data_seed, data_options), "")
    except Exception as error:
        problem = _what_failed(error)
        logger.warning("%s failed: %s", setting_name(dataset, percent), problem)
        hole = Hole(problem)
        return hole, hole, hole, hole, problem


def run_cell(
    images: npt.NDArray[np.uint8],
    manifest: pd.DataFrame,
    data_card: DataCard,
    data_problem: str,
    snapshots: SnapshotStore,
    dataset: str,
    percent: str,
    recipe: dict[str, Any],
    seed: int,
    seeds: int,
    device: str,
    precision: str,
    threads: Any,
    resume: bool,
) -> tuple[Any, ...]:
    """Train all seeds of a cell together, predict and judge.

    Whatever goes wrong is caught: the grid goes on, and the outcome says what it was. Only where
    another process trains the same trial, no outcome is saved that would replace the other's.

    Args:
        images: of the data set; a Hole or None if it is not there.
        manifest: likewise.
        data_card: likewise.
        data_problem: why the data set is not there, or "".
        snapshots: of the catalog.
        dataset: its name.
        percent: such as 2pct.
        recipe: of the method.
        seed: the first seed.
        seeds: how many.
        device: see conf/base/parameters.yml.
        precision: fp32 or bf16.
        threads: `auto`, or the number of threads on the CPU.
        resume: whether to continue an interrupted training of the same settings.

    Returns:
        checkpoint, history, sample_weights, training_record, predictions, metrics,
        group_accuracy (holes if the cell failed), outcome.

    Raises:
        AlreadyRunningError: if another process trains this trial.
    """
    name = f"{setting_name(dataset, percent)}.{recipe['method']}"
    what: dict[str, Any] = {
        "dataset": dataset,
        "percent": percent,
        "method": recipe["method"],
        "seeds": [*range(seed, seed + seeds)],
    }
    tags = {**what, "seeds": ",".join(map(str, what["seeds"])), "cell": name}
    run, error, digest, content_hash = TrackedRun(), None, None, None
    started, memory = time.perf_counter(), PeakMemory()
    with limited_threads(threads) as used:
        try:
            with trial_run(name, tags) as run:
                run.log(params=recipe)
                _check_data(images, manifest, data_card, data_problem)
                content_hash = data_card.get("content_hash")
                checkpoint, history, weights, record = train_method(
                    images,
                    manifest,
                    data_card,
                    snapshots,
                    recipe,
                    seed,
                    seeds,
                    device,
                    precision,
                    threads,
                    resume,
                    name,
                )
                predictions = predict_test(
                    images, manifest, checkpoint, data_card, device, precision
                )
                metrics, groups, figures = evaluate(
                    predictions, manifest, weights, data_card, record
                )
                run.log(metrics={key: figure["value"] for key, figure in figures.items()})
            digest = record["settings_digest"]
            results: tuple[Any, ...] = (
                checkpoint, history, weights, record, predictions, metrics, groups,
            )  # fmt: skip
        except AlreadyRunningError:
            raise
        except Exception as failure:
            error = _what_failed(failure)
            logger.warning("%s failed: %s", name, error)
            results = (Hole(error),) * _RESULTS
    return *results, {
        **what,
        "precision": precision,
        "steps": recipe["steps"],
        "status": "failed" if error else "done",
        "error": error,
        "seconds": time.perf_counter() - started,
        "peak_memory_bytes": memory.bytes(),
        "threads": used,
        "settings_digest": digest,
        "content_hash": content_hash,
        "mlflow_run_id": run.run_id,
        "mlflow_experiment_id": run.experiment_id,
    }


def _check_data(images: Any, manifest: Any, data_card: Any, problem: str) -> None:
    if problem:
        raise UserError(problem)
    for part in (images, manifest, data_card):
        if isinstance(part, Hole):
            raise UserError(part.reason)
        if part is None:
            raise UserError("The data set is not there: run the grid without choosing cells")


def _what_failed(error: Exception) -> str:
    if isinstance(error, RecipeError):
        error = error.with_key(OVERRIDES)
    text = one_line(error)
    return text if isinstance(error, UserError) else f"{type(error).__name__}: {text}"
