"""The node of the pipeline `tune`: train and score trials of every method."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from debias_pipeline.records import DataCard, Tuning
from debias_pipeline.tracked_training import TrainingSettings
from debias_pipeline.training import SnapshotStore
from debias_pipeline.tuning import Tuner, without_test


def search_recipes(
    images: npt.NDArray[np.uint8],
    manifest: pd.DataFrame,
    data_card: DataCard,
    snapshots: SnapshotStore,
    study: Any,  # Optuna is imported where it is used
    tune: dict[str, Any],
    typed: dict[str, Any],
    seed: int,
    seeds: int,
    device: str,
    precision: str,
    threads: Any,  # Kedro warns of a union
    resume: bool,
) -> Tuning:
    """Search the ranges of every method, with the same number of trials.

    Args:
        images: uint8, N × H × W × 3.
        manifest: row i describes images[i].
        data_card: facts about the data set.
        snapshots: stores snapshots of interrupted trials.
        study: stores finished trials.
        tune: see `tuning.resolve_tune`.
        typed: what a command must contain to use the same data.
        seed: the first seed of training.
        seeds: number of seeds, whose scores are averaged.
        device: auto, cpu, cuda or mps.
        precision: fp32 or bf16.
        threads: `auto`, or the number of threads on the CPU.
        resume: whether to continue an interrupted search with the same settings.

    Raises:
        UserError: if the validation split cannot be scored.
    """
    settings = TrainingSettings({}, range(seed, seed + seeds), device, precision, threads, resume)
    images, manifest = without_test(images, manifest)
    return Tuner(images, manifest, data_card, snapshots, study, tune, typed, settings).run()
