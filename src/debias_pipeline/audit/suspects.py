"""The table of all images, the most suspicious first."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from debias_pipeline.images import ImageData
from debias_pipeline.methods import Method
from debias_pipeline.names import SPLITS
from debias_pipeline.records import DataCard
from debias_pipeline.training import TrainingServices


def suspects_table(
    method: Method,
    data: ImageData,
    manifest: pd.DataFrame,
    data_card: DataCard,
    sample_weights: pd.DataFrame,
    precision: str,
) -> pd.DataFrame:
    """Rank all images by how much harder they are for the bias branch than for the debiased one.

    Args:
        method: trained, with a bias branch; replica 0 is used.
        data: the images.
        manifest: has the files of the images.
        data_card: has the names of labels and bias values.
        sample_weights: weights of the training images.
        precision: fp32 or bf16.

    Returns:
        A row per image: rank (1 is the most suspicious), file, split, label, bias (empty where
        unknown), weight, prediction, confidence, bias_prediction. `weight` of a training image is
        its W. For other images it is computed like W from their losses after training, divided by
        the largest moving averages of their class.
    """
    averages = {name: values[0].cpu() for name, values in method.image_losses().items()}
    labels = torch.tensor(data.splits["train"].labels)
    largest = {
        name: torch.zeros(method.task.classes).scatter_reduce(0, labels, values.float(), "amax")
        for name, values in averages.items()
    }
    weights = sample_weights.set_index("image_id")["weight"]
    tables = []
    for name in SPLITS:
        split = data.splits[name]
        logits = _logits(method, data, name, precision)
        probabilities = logits[0].softmax(1)
        confidence, prediction = probabilities.max(1)
        weight = (
            weights.reindex(split.image_ids).to_numpy()
            if name == "train"
            else _relative_difficulty(logits, torch.tensor(split.labels), largest)
        )
        tables.append(
            pd.DataFrame(
                {
                    "image_id": split.image_ids,
                    "split": name,
                    "label": _names(split.labels, data_card["label_names"]),
                    "bias": _names(split.bias, data_card["bias_names"]),
                    "weight": weight,
                    "prediction": _names(prediction.numpy(), data_card["label_names"]),
                    "confidence": confidence.numpy(),
                    "bias_prediction": _names(
                        logits[1].argmax(1).numpy(), data_card["label_names"]
                    ),
                }
            )
        )
    table = pd.concat(tables, ignore_index=True)
    files = manifest.set_index("image_id")["source"]
    table.insert(0, "file", files.reindex(table.pop("image_id")).to_numpy())
    table = table.sort_values("weight", ascending=False, kind="stable", ignore_index=True)
    table.insert(0, "rank", np.arange(1, len(table) + 1))
    return table


def _logits(method: Method, data: ImageData, split: str, precision: str) -> Tensor:
    """Return the logits of the debiased and the bias branch of replica 0, float32, [2, n, C]."""

    def both(images: Tensor) -> Tensor:
        intrinsic, bias = method.predict_branches(images)
        if bias is None:
            raise ValueError(f"{method.name} has no bias branch")
        return torch.stack([intrinsic[:1], bias[:1]], 2).float()

    services = TrainingServices(method, data, precision)
    return services.sweep(both, split)[0].movedim(1, 0).cpu()


def _relative_difficulty(logits: Tensor, labels: Tensor, largest: Mapping[str, Tensor]) -> Tensor:
    intrinsic, bias = (
        (cross_entropy(each, labels, reduction="none") / largest[name][labels]).clamp(max=1)
        for each, name in zip(logits, ("intrinsic", "bias"), strict=True)
    )
    return bias / (bias + intrinsic + 1e-8)


def _names(values: "np.ndarray[tuple[int], np.dtype[np.int64]]", names: list[str]) -> list[str]:
    """Return names by value; "" for negative values, which are unknown."""
    return [names[value] if 0 <= value < len(names) else "" for value in values]
