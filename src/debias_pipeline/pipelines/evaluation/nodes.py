"""Checkpoint → predictions → metrics and group accuracy."""

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
from debias_pipeline.training import Checkpoint, choose_device, restore_method


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
