"""The node of the training pipeline: train a method for all seeds."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from debias_pipeline.records import DataCard, TrainingRecord
from debias_pipeline.tracked_training import TrainingSettings, run_training
from debias_pipeline.training import SnapshotStore


def train_method(
    images: npt.NDArray[np.uint8],
    manifest: pd.DataFrame,
    data_card: DataCard,
    snapshots: SnapshotStore,
    recipe: dict[str, Any],
    seed: int,
    seeds: int,
    device: str,
    precision: str,
    threads: Any,  # Kedro warns of a union
    resume: bool,
) -> tuple[dict[str, Any], pd.DataFrame, pd.DataFrame, TrainingRecord]:
    """Train a method for all seeds together.

    Args:
        images: uint8, N × H × W × 3.
        manifest: row i describes images[i].
        data_card: facts about the data set.
        snapshots: stores snapshots of interrupted runs.
        recipe: hyper-parameters, as plain values.
        seed: the first seed.
        seeds: number of seeds.
        device: auto, cpu, cuda or mps.
        precision: fp32 or bf16.
        threads: `auto`, or the number of threads on the CPU.
        resume: whether to continue an interrupted training with the same settings.

    Returns:
        checkpoint (tensors and metadata), history, sample_weights, training_record.
    """
    seed_range = range(seed, seed + seeds)
    settings = TrainingSettings(recipe, seed_range, device, precision, threads, resume)
    trained = run_training(images, manifest, data_card, snapshots, settings)
    checkpoint, run = trained.checkpoint, trained.run
    return checkpoint.to_catalog(), run.history, run.sample_weights, trained.record
