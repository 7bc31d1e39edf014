"""Images and manifest → checkpoint, history, sample weights."""

import logging
import time
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from debias_pipeline.images import ImageData
from debias_pipeline.methods import Task, get_method
from debias_pipeline.tracking import StepMetrics
from debias_pipeline.training import (
    Checkpoint,
    Progress,
    Snapshots,
    SnapshotStore,
    TrainingThreads,
    choose_device,
    data_identity,
    train,
)

logger = logging.getLogger(__name__)


def train_method(
    images: npt.NDArray[np.uint8],
    manifest: pd.DataFrame,
    data_card: dict[str, Any],
    snapshots: SnapshotStore,
    recipe: dict[str, Any],
    seed: int,
    seeds: int,
    device: str,
    precision: str,
    threads: Any,
    resume: bool,
    name: str = "",
) -> tuple[dict[str, Any], pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    """Train a method's networks for all seeds together.

    Args:
        images: of the catalog.
        manifest: of the catalog.
        data_card: of the catalog.
        snapshots: of the catalog.
        recipe: of the method.
        seed: the first seed.
        seeds: how many.
        device: see conf/base/parameters.yml.
        precision: fp32 or bf16.
        threads: `auto`, or the number of threads on the CPU.
        resume: whether to continue an interrupted training of the same settings.
        name: what is trained, for people; the method's name if "".

    Returns:
        checkpoint (tensors and metadata), history, sample_weights, training_record.
    """
    started = time.perf_counter()
    data = ImageData.from_catalog(images, manifest, choose_device(device))
    method_type = get_method(recipe["method"])
    typed_recipe = method_type.recipe_type.model_validate(recipe)
    height, width, channels = data_card["image_shape"]
    task = Task(
        image_shape=typed_recipe.network_input((height, width, channels)),
        classes=len(data_card["label_names"]),
        seeds=range(seed, seed + seeds),
    )
    method = method_type(typed_recipe, task).to(data.device)
    chosen = TrainingThreads(threads, data.device)
    fingerprint = {
        "recipe": recipe,
        "seeds": list(task.seeds),
        "device": str(data.device),
        "precision": precision,
        "threads": chosen.most,
        "torch": torch.__version__,
        "headline": data_card["headline"],
        # Data that an earlier version made has no hash.
        "data": data_card.get("content_hash") or data_card,
    }
    taken = Snapshots(snapshots, fingerprint)
    progress = Progress(name or recipe["method"], sum(each.steps for each in method.stages()))
    with taken.exclusive():
        if not resume:
            taken.remove()
        run = train(
            method,
            typed_recipe,
            data,
            headline=data_card["headline"],
            precision=precision,
            listeners=[progress, StepMetrics(recipe["method"])],
            snapshots=taken,
            threads=chosen,
        )
    progress.close()
    logger.info("%s: threads=%s used %s", name or recipe["method"], threads, chosen.summary())
    checkpoint = Checkpoint.of_run(run.kept, recipe, task, _origin(data_card))
    record = {
        "recipe": recipe,
        "seeds": list(task.seeds),
        "device": str(data.device),
        "precision": precision,
        "threads": chosen.most,
        "thread_steps": chosen.state_dict(),
        "torch": torch.__version__,
        "selection_support": run.support,
        "seconds": time.perf_counter() - started,
        "settings_digest": taken.digest,
        "data": data_identity(data_card),
    }
    return checkpoint.to_catalog(), run.history, run.sample_weights, record


def _origin(data_card: dict[str, Any]) -> dict[str, Any]:
    keys = ("dataset", "percent", "headline", "origin", "seed")
    return {**{key: data_card[key] for key in keys}, **data_identity(data_card)}
