"""Train a method for all seeds, with progress, snapshots and tracking in MLflow."""

import hashlib
import logging
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from debias_pipeline import __version__
from debias_pipeline.images import ImageData
from debias_pipeline.methods import Method, make_method
from debias_pipeline.names import SPLITS
from debias_pipeline.networks import weights_hash
from debias_pipeline.records import DataCard, TrainingRecord
from debias_pipeline.tracking import StepMetrics, method_run
from debias_pipeline.training import (
    Checkpoint,
    Progress,
    Snapshots,
    SnapshotStore,
    TrainingRun,
    TrainingThreads,
    choose_device,
    data_identity,
    leave_out,
    train,
    training_name,
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingSettings:
    """What a training depends on besides its data.

    Attributes:
        recipe: hyper-parameters, as plain values.
        seeds: trained together.
        device: auto, cpu, cuda or mps.
        precision: fp32 or bf16.
        threads: `auto`, or the number of threads on the CPU.
        resume: whether to continue an interrupted training with the same settings.
    """

    recipe: dict[str, Any]
    seeds: range
    device: str
    precision: str
    threads: Any
    resume: bool


@dataclass(frozen=True)
class Trained:
    """A finished training.

    Attributes:
        method: the method, with the networks of the last step.
        data: images and splits, see `ImageData`.
        run: history, sample weights and selected checkpoints.
        checkpoint: the selected checkpoints, with what is needed to restore the method and to
            predict new images.
        record: the catalog's `training_record`.
    """

    method: Method
    data: ImageData
    run: TrainingRun
    checkpoint: Checkpoint
    record: TrainingRecord


def run_training(
    images: npt.NDArray[np.uint8],
    manifest: pd.DataFrame,
    data_card: DataCard,
    snapshots: SnapshotStore,
    settings: TrainingSettings,
    held_out: npt.NDArray[np.bool_] | None = None,
    splits: Sequence[str] = SPLITS,
) -> Trained:
    """Train a method for all seeds together, or continue an interrupted training.

    Args:
        images: uint8, N × H × W × 3.
        manifest: row i describes images[i].
        data_card: facts about the data set.
        snapshots: stores snapshots of interrupted runs.
        settings: see `TrainingSettings`.
        held_out: bool, [R, training images]: images that a replica is not trained on.
        splits: those that are used; without `test`, the history has no accuracies of it.
    """
    started = time.perf_counter()
    recipe, precision = settings.recipe, settings.precision
    data = ImageData.from_catalog(images, manifest, choose_device(settings.device), splits)
    classes = len(data_card["label_names"])
    method = make_method(recipe, data_card["image_shape"], classes, settings.seeds).to(data.device)
    if held_out is not None:
        leave_out(method, held_out)
    training_threads = TrainingThreads(settings.threads, data.device)
    fingerprint = {
        "recipe": recipe,
        "seeds": list(settings.seeds),
        "device": str(data.device),
        "precision": precision,
        "threads": training_threads.most,
        "torch": torch.__version__,
        "headline": data_card["headline"],
        # Data made by an earlier version has no hash.
        "data": data_card.get("content_hash") or data_card,
    }
    hash_of_weights = weights_hash(method.recipe.weights)
    if hash_of_weights is not None:
        fingerprint["weights_hash"] = hash_of_weights
    if held_out is not None:
        fingerprint["held_out"] = hashlib.sha256(held_out.tobytes()).hexdigest()
    run_snapshots = Snapshots(snapshots, fingerprint)
    name = training_name(recipe["method"])
    progress = Progress(name, sum(each.steps for each in method.stages()))
    with run_snapshots.exclusive():
        if not settings.resume:
            run_snapshots.remove()
        run = train(
            method,
            method.recipe,
            data,
            headline=data_card["headline"],
            precision=precision,
            listeners=[progress, StepMetrics(recipe["method"])],
            snapshots=run_snapshots,
            threads=training_threads,
        )
    progress.close()
    logger.info("%s: threads=%s used %s", name, settings.threads, training_threads.summary())
    checkpoint = Checkpoint.of_run(run.checkpoints, recipe, method.task, _origin(data_card))
    record: TrainingRecord = {
        "recipe": recipe,
        "seeds": list(settings.seeds),
        "device": str(data.device),
        "precision": precision,
        "threads": training_threads.most,
        "thread_steps": training_threads.state_dict(),
        "torch": torch.__version__,
        "selection_support": {rule: list(each) for rule, each in run.support.items()},
        "dead_units": {rule: list(each) for rule, each in run.dead_units.items()},
        "image_passes": run.image_passes,
        "seconds": run.seconds_before + time.perf_counter() - started,
        "seconds_before": run.seconds_before,
        "settings_digest": run_snapshots.digest,
        "weights_hash": hash_of_weights,
        "data": data_identity(data_card),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {
            "debias-pipeline": __version__,
            "Python": platform.python_version(),
            "PyTorch": torch.__version__,
        },
        "commit": method_run(recipe["method"]).commit,
        "mlflow_run_id": method_run(recipe["method"]).run_id,
    }
    return Trained(method, data, run, checkpoint, record)


def _origin(data_card: DataCard) -> dict[str, Any]:
    """Return the facts about the data set that a checkpoint stores."""
    return {
        "dataset": data_card["dataset"],
        "percent": data_card["percent"],
        "headline": data_card["headline"],
        "origin": data_card["origin"],
        "seed": data_card["seed"],
        **data_identity(data_card),
    }
