"""This project's steps against those of the naive reference, block by block in turn."""

import statistics
import tempfile
import time
from collections import defaultdict
from dataclasses import asdict
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks.naive import FILES, TRAIN_IMAGES, WORKERS, NaiveDisent, PngFiles, write_png_files
from benchmarks.real_steps import Blocks, time_steps
from benchmarks.steps import SPLITS, published_recipe
from benchmarks.timing import Timing, milliseconds_of
from debias_pipeline.images import ImageData

# Of a full published run.
STEPS, EVALUATIONS = 50_000, 100
OURS = ((1, "fp32"), (5, "fp32"), (5, "bf16"))
_WARM_UP = 5


def measure_against_naive(
    data: ImageData, *, rounds: int, naive_steps: int = 30, our_steps: int = 60
) -> dict[str, Any]:
    """Times of both, and of the full published run that they would make.

    Whole blocks are timed, not single steps: workers read ahead. They are stopped while the
    others' turn lasts.

    Args:
        data: images of cmnist's shape, with the published splits.
        rounds: blocks of each.
        naive_steps: steps of a block of the naive reference.
        our_steps: steps of a block of ours.
    """
    recipe = published_recipe("cmnist", "disent")
    milliseconds: dict[Any, list[float]] = defaultdict(list)
    evaluations: dict[Any, list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        write_png_files(Path(folder))
        naive = NaiveDisent(PngFiles(Path(folder), TRAIN_IMAGES), recipe)
        splits = [PngFiles(Path(folder), SPLITS[split]) for split in ("valid", "test")]
        for _ in range(rounds):
            milliseconds["naive"].append(_naive_block(naive, naive_steps))
            evaluations["naive"].append(
                sum(milliseconds_of(partial(naive.accuracy, split)) for split in splits)
            )
            for ours in OURS:
                # One block, of which the first step is not counted.
                block = Blocks(count=1, steps=our_steps + 1)
                times = time_steps(data, recipe, *ours, blocks=block, warm_up=_WARM_UP - 1)
                milliseconds[ours].append(statistics.mean(times.steps[0]))
                evaluations[ours].append(statistics.mean(times.evaluations))
    figures = {name: _figures(milliseconds[name], evaluations[name]) for name in ("naive", *OURS)}
    reference = figures.pop("naive")
    return {
        "workers": WORKERS,
        "files": FILES,
        "naive": reference,
        "ours": [_compared(*ours, each, reference) for ours, each in figures.items()],
    }


def _naive_block(naive: NaiveDisent, steps: int) -> float:
    """Milliseconds a step; the workers' start is not counted."""
    running = naive.steps()
    for _ in islice(running, _WARM_UP):
        pass
    started = time.perf_counter()
    for _ in islice(running, steps):
        pass
    seconds = time.perf_counter() - started
    running.close()
    return 1000 * seconds / steps


def _figures(steps: list[float], evaluations: list[float]) -> dict[str, Any]:
    step, evaluation = Timing.of(steps), Timing.of(evaluations)
    full_run = (STEPS * step.median + EVALUATIONS * evaluation.median) / 1000
    return {"step": asdict(step), "evaluation": asdict(evaluation), "full_run_seconds": full_run}


def _compared(
    replicas: int, precision: str, figures: dict[str, Any], reference: dict[str, Any]
) -> dict[str, Any]:
    def speed_up(naive: float, ours: float) -> float:
        return replicas * naive / ours

    return {
        "replicas": replicas,
        "precision": precision,
        **figures,
        "step_speed_up_per_seed": speed_up(reference["step"]["median"], figures["step"]["median"]),
        "full_run_speed_up_per_seed": speed_up(
            reference["full_run_seconds"], figures["full_run_seconds"]
        ),
    }
