"""Checkpoint → predictions → metrics and group accuracy."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from debias_pipeline.evaluation import (
    ImageData,
    final_figures,
    group_accuracy,
    predict,
    prediction_table,
    summarise,
)
from debias_pipeline.training import (
    Checkpoint,
    choose_device,
    empty_sample_weights,
    read_published,
    restore_method,
)


def predict_test(
    images: npt.NDArray[np.uint8],
    manifest: pd.DataFrame,
    checkpoint: dict[str, Any],
    device: str,
    precision: str,
) -> pd.DataFrame:
    """What the networks of every seed and checkpoint choice say of the test images."""
    data = ImageData.from_catalog(images, manifest, choose_device(device))
    trained = Checkpoint.from_catalog(checkpoint)
    tables = [
        prediction_table(
            predict(restore_method(trained, choice, data.device), data, "test", precision),
            data.splits["test"],
            checkpoint=choice,
            seeds=trained.seeds,
            steps=steps,
        )
        for choice, steps in trained.steps.items()
    ]
    return pd.concat(tables, ignore_index=True)


def import_published(
    pretrained: str, recipe: dict[str, Any], data_card: dict[str, Any], precision: str
) -> tuple[dict[str, Any], pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    """Read networks that published code has trained, as if they came from our training.

    Returns:
        checkpoint, history and sample_weights (no rows: published files keep none),
        training_record.
    """
    height, width, channels = data_card["image_shape"]
    checkpoint = read_published(
        Path(pretrained), recipe, (height, width, channels), len(data_card["label_names"])
    )
    record = {"recipe": recipe, "seeds": [0], "precision": precision, "pretrained": True}
    history = pd.DataFrame({"step": [], "seed": []}, dtype="int64")
    return checkpoint.to_catalog(), history, empty_sample_weights(), record


def judge(
    predictions: pd.DataFrame,
    manifest: pd.DataFrame,
    sample_weights: pd.DataFrame,
    data_card: dict[str, Any],
    training_record: dict[str, Any],
) -> tuple[dict[str, Any], pd.DataFrame, dict[str, Any]]:
    """Metrics and group accuracy.

    Returns:
        metrics, group_accuracy, and the metrics as MLflow wants them.
    """
    metrics = summarise(
        predictions, manifest, sample_weights, data_card, training_record["recipe"]["method"]
    )
    groups = group_accuracy(predictions, manifest, data_card)
    return metrics, groups, final_figures(metrics)
