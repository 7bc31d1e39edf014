"""Nodes of the evaluation pipeline: predict, then compute metrics and group accuracies."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from debias_pipeline.errors import UserError
from debias_pipeline.evaluation import (
    estimate_groups,
    explain,
    final_metrics,
    group_accuracy,
    map_features,
    predict,
    prediction_table,
    rank_suspects,
    summarise,
)
from debias_pipeline.images import ImageData
from debias_pipeline.methods import Method
from debias_pipeline.records import DataCard, LabelEstimates, Metrics, TrainingRecord
from debias_pipeline.selection_rules import LAST
from debias_pipeline.training import (
    Checkpoint,
    check_data,
    choose_device,
    data_difference,
    empty_sample_weights,
    read_published,
    restore_method,
)
from debias_pipeline.use import read_bias_labels


def predict_test(
    images: npt.NDArray[np.uint8],
    manifest: pd.DataFrame,
    checkpoint: dict[str, Any],
    data_card: DataCard,
    device: str,
    precision: str,
) -> pd.DataFrame:
    """Predict the labels of the test images with the networks of every seed and selection rule.

    Raises:
        UserError: if the checkpoint was trained on other data.
    """
    trained = Checkpoint.from_catalog(checkpoint)
    check_data(trained, data_card)
    data = ImageData.from_catalog(images, manifest, choose_device(device))
    tables = [
        prediction_table(
            predict(restore_method(trained, rule, data.device), data, "test", precision),
            data.splits["test"],
            checkpoint=rule,
            seeds=trained.seeds,
            steps=steps,
        )
        for rule, steps in trained.steps.items()
    ]
    return pd.concat(tables, ignore_index=True)


def list_suspects(
    images: npt.NDArray[np.uint8],
    manifest: pd.DataFrame,
    sample_weights: pd.DataFrame,
    checkpoint: dict[str, Any],
    data_card: DataCard,
    device: str,
    precision: str,
) -> pd.DataFrame:
    """Rank the images of all splits by how much they seem bias-conflicting.

    Returns:
        suspects, see `evaluation.rank_suspects`.

    Raises:
        UserError: if the checkpoint was trained on other data.
    """
    trained = Checkpoint.from_catalog(checkpoint)
    check_data(trained, data_card)
    data = ImageData.from_catalog(images, manifest, choose_device(device))
    method = restore_method(trained, LAST.key, data.device)
    return rank_suspects(method, data, manifest, sample_weights, data_card, precision)


def explain_suspects(
    images: npt.NDArray[np.uint8],
    manifest: pd.DataFrame,
    suspects: pd.DataFrame,
    checkpoint: dict[str, Any],
    device: str,
) -> dict[str, Any]:
    """Return saliency maps of both branches of the first seed's networks, see `explain`."""
    data = ImageData.from_catalog(images, manifest, choose_device(device))
    return explain(_of_first_seed(checkpoint, data.device), data, manifest, suspects)


def map_both_branches(
    images: npt.NDArray[np.uint8],
    manifest: pd.DataFrame,
    checkpoint: dict[str, Any],
    device: str,
) -> dict[str, Any]:
    """Return where images lie among the first seed's features, see `evaluation.map_features`."""
    data = ImageData.from_catalog(images, manifest, choose_device(device))
    return map_features(_of_first_seed(checkpoint, data.device), data, manifest)


def _of_first_seed(checkpoint: dict[str, Any], device: torch.device) -> Method:
    """Return the method with the networks of the first seed at the last step."""
    trained = Checkpoint.from_catalog(checkpoint)
    return restore_method(trained.of_seed(LAST.key, trained.seeds[0]), LAST.key, device)


def estimate_from_labels(
    suspects: pd.DataFrame,
    to_label: pd.DataFrame,
    manifest: pd.DataFrame,
    data_card: DataCard,
    bias_labels: str,
) -> LabelEstimates:
    """Estimate group accuracies from bias labels of a few images, see `estimate_groups`.

    Raises:
        UserError: if the file `bias_labels` cannot be used.
    """
    labels = read_bias_labels(bias_labels)
    where = f"bias_labels={bias_labels}"
    return estimate_groups(suspects, to_label, labels, manifest, data_card, where)


def import_published(
    pretrained: str, recipe: dict[str, Any], data_card: DataCard, precision: str
) -> tuple[dict[str, Any], pd.DataFrame, pd.DataFrame, TrainingRecord]:
    """Read a checkpoint file of the published code.

    Returns:
        checkpoint, history and sample_weights (without rows: published files hold none),
        training_record.
    """
    height, width, channels = data_card["image_shape"]
    checkpoint = read_published(
        Path(pretrained), recipe, (height, width, channels), len(data_card["label_names"])
    )
    record: TrainingRecord = {
        "recipe": recipe,
        "seeds": [0],
        "precision": precision,
        "pretrained": True,
    }
    history = pd.DataFrame({"step": [], "seed": []}, dtype="int64")
    return checkpoint.to_catalog(), history, empty_sample_weights(), record


def evaluate(
    predictions: pd.DataFrame,
    manifest: pd.DataFrame,
    sample_weights: pd.DataFrame,
    data_card: DataCard,
    training_record: TrainingRecord,
) -> tuple[Metrics, pd.DataFrame, dict[str, dict[str, float]]]:
    """Compute metrics and group accuracies from predictions of the test split.

    Returns:
        metrics, group_accuracy, and final_metrics: means over seeds in MLflow's format.

    Raises:
        UserError: if the method was trained on other data.
    """
    if difference := data_difference(training_record.get("data", {}), data_card):
        raise UserError(f"The method was trained on other data: {difference}; train it again")
    metrics = summarise(
        predictions,
        manifest,
        sample_weights,
        data_card,
        training_record["recipe"]["method"],
        # Records of earlier versions and of published checkpoints do not have the key.
        training_record.get("selection_support"),
        training_record.get("dead_units"),
    )
    groups = group_accuracy(predictions, manifest, data_card)
    return metrics, groups, final_metrics(metrics)
