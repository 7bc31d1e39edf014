"""Rank the images of all splits by how much they seem to go against the bias."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from debias_pipeline.evaluation.predict import IMAGES_AT_ONCE, images_in_parts, mixed_precision
from debias_pipeline.images import ImageData
from debias_pipeline.losses import cross_entropy
from debias_pipeline.methods import Method
from debias_pipeline.names import LOSS_AVERAGES, SPLITS
from debias_pipeline.records import DataCard, FirstSuspects

# Number of suspects of which the precision is shown.
FIRST: Final = 20


def rank_suspects(
    method: Method,
    data: ImageData,
    manifest: pd.DataFrame,
    sample_weights: pd.DataFrame,
    data_card: DataCard,
    precision: str,
) -> pd.DataFrame:
    """Return the catalog's `suspects`: all images, the most suspicious first.

    The weight of a training image is its weight in training (`sample_weights`), the mean over
    seeds. Validation and test images have no weight in training. They get what
    `Method.weigh_unseen` computes from the losses of the trained networks, the mean over seeds:

    - DisEnt, LfF and their variants: W = b / (b + d). b is the present cross-entropy of the bias
      branch on the image and its label, divided by the largest moving average that a training
      image of the class has at the end of training, and at most 1; d is the same of the debiased
      branch.
    - JTT: 1 + up if the first network mistakes the image, else 1.

    Images of the same weight are ordered by the loss of the bias branch, the highest first, then
    by image_id.

    Args:
        method: networks at the end of training, R replicas, on the data's device; its class
            overrides `weigh_unseen`.
        data: the images.
        manifest: row i describes image i.
        sample_weights: of the training run; a row per training image and seed.
        data_card: has the names of labels and bias values.
        precision: fp32 or bf16.

    Returns:
        A row per image: rank (from 1), file (`source` of the manifest), split, label, bias (null
        if unknown), weight, prediction and confidence (the label of the highest probability, and
        this probability; mean over seeds), bias_prediction (the same of the bias branch). Labels
        and bias values are given by name.
    """
    largest = _largest_averages(method, sample_weights, manifest)
    scores = pd.concat([_scores(method, data, split, largest, precision) for split in SPLITS])
    trained = sample_weights.astype({"weight": "float64"}).groupby("image_id")["weight"].mean()
    scores["weight"] = trained.reindex(scores.index).fillna(scores["weight"])
    order = ["weight", "bias_loss", "image_id"]
    ranked = scores.reset_index().sort_values(order, ascending=[False, False, True])
    rows = manifest.set_index("image_id").loc[ranked["image_id"]]
    labels, biases = data_card["label_names"], data_card["bias_names"]
    return pd.DataFrame(
        {
            "rank": np.arange(1, len(ranked) + 1),
            "file": rows["source"].to_numpy(),
            "split": rows["split"].to_numpy(),
            "label": names_of(labels, rows["label"]),
            "bias": names_of(biases, rows["bias"]),
            "weight": ranked["weight"].to_numpy().round(6),
            "prediction": names_of(labels, ranked["prediction"]),
            "confidence": ranked["confidence"].to_numpy().round(6),
            "bias_prediction": names_of(labels, ranked["bias_prediction"]),
        }
    )


def first_suspects(suspects: pd.DataFrame, manifest: pd.DataFrame) -> FirstSuspects | None:
    """Return how many of the first 20 suspects are conflicting; None if that is not known of any.

    Args:
        suspects: see `rank_suspects`.
        manifest: manifest of the data set.
    """
    known = manifest[manifest["conflicting"].notna()]
    files = suspects[["split", "file"]].head(FIRST)
    # An image can be in the training and in the validation split.
    first = known.merge(files, left_on=["split", "source"], right_on=["split", "file"])
    if first.empty:
        return None
    return {
        "conflicting": int(first["conflicting"].sum()),
        "known": len(first),
        "images": len(files),
        "conflicting_fraction": float(known["conflicting"].mean()),
    }


@torch.inference_mode()
def _scores(
    method: Method, data: ImageData, split: str, largest: Tensor, precision: str
) -> pd.DataFrame:
    """Return weight, predictions and bias_loss of the images of a split, by image_id."""
    of_split = data.splits[split]
    labels_of_split = torch.from_numpy(of_split.labels).to(data.device)
    parts = []
    with mixed_precision(data.device, precision):
        for images, labels in zip(
            images_in_parts(method, data, of_split.rows),
            torch.split(labels_of_split, IMAGES_AT_ONCE),
            strict=True,
        ):
            logits, bias_logits = method.predict_branches(images)
            if bias_logits is None:
                raise ValueError(f"{method.name} has no bias branch")
            logits, bias_logits = logits.float(), bias_logits.float()
            confidence, prediction = logits.softmax(-1).mean(0).max(-1)
            bias_losses = cross_entropy(bias_logits, labels.expand(len(bias_logits), -1))
            of_batch = {
                "weight": method.weigh_unseen(logits, bias_logits, labels, largest).mean(0),
                "prediction": prediction,
                "confidence": confidence,
                "bias_prediction": bias_logits.softmax(-1).mean(0).argmax(-1),
                "bias_loss": bias_losses.mean(0),
            }
            parts.append(pd.DataFrame({name: each.cpu() for name, each in of_batch.items()}))
    ids = pd.Index(of_split.image_ids, name="image_id")
    return pd.concat(parts).set_index(ids).astype({"weight": "float64"})


def _largest_averages(
    method: Method, sample_weights: pd.DataFrame, manifest: pd.DataFrame
) -> Tensor:
    """Return the largest moving average of each class, float32, [R, 2, C]; see `Method`."""
    columns = [f"loss_average_{name}" for name in LOSS_AVERAGES]
    labels = manifest.set_index("image_id")["label"]
    averages = sample_weights[["seed", *columns]].astype(dict.fromkeys(columns, "float32"))
    averages["label"] = labels.loc[sample_weights["image_id"]].to_numpy()
    largest = averages.groupby(["seed", "label"])[columns].max()
    seeds, classes = list(method.task.seeds), range(method.task.classes)
    of_all = largest.reindex(pd.MultiIndex.from_product([seeds, classes])).to_numpy(np.float32)
    tensor = torch.from_numpy(of_all).view(len(seeds), len(classes), len(columns)).mT
    return tensor.contiguous().to(next(method.parameters()).device)


def names_of(names: Sequence[str], values: "pd.Series[int]") -> npt.NDArray[np.object_]:
    """Return the name of each value, its number if it has no name, None if it is unknown (−1)."""
    name_of: dict[int, str | None] = {
        number: names[number] if number < len(names) else str(number)
        for number in set(values)
        if number >= 0
    }
    name_of[-1] = None
    return values.map(name_of).to_numpy(object)
