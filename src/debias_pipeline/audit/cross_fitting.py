"""Train replicas that each leave out a part of the training images."""

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from debias_pipeline.images import ImageData
from debias_pipeline.methods import Method
from debias_pipeline.names import SPLITS
from debias_pipeline.training import TrainingServices


def held_out_folds(labels: npt.NDArray[np.int64], folds: int, seed: int) -> npt.NDArray[np.bool_]:
    """Draw which training images each replica leaves out, stratified by label.

    Replica 0 leaves out none. Each of the others leaves out one fold, so that every image is left
    out by one replica.

    Args:
        labels: int64, [N].
        folds: number of folds, 2 or more.
        seed: seed of the random division.

    Returns:
        bool, [1 + folds, N].
    """
    order = np.random.default_rng(seed).permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    fold = np.empty(len(labels), dtype=np.int64)
    fold[order] = np.arange(len(labels)) % folds
    return np.stack([np.zeros(len(labels), dtype=bool), *(fold == each for each in range(folds))])


def predict_all(
    method: Method, data: ImageData, held_out: npt.NDArray[np.bool_], precision: str
) -> pd.DataFrame:
    """Predict every image by both branches of every replica.

    Args:
        method: trained, with a bias branch.
        data: the images.
        held_out: bool, [R, N], see `held_out_folds`.
        precision: fp32 or bf16.

    Returns:
        A row per image and replica: image_id, split, label, bias (−1 where unknown), conflicting
        (1, 0, −1 where unknown), replica, held_out (whether the replica was not trained on the
        image), prediction, bias_prediction.
    """
    services = TrainingServices(method, data, precision)

    def both_branches(images: Tensor) -> Tensor:
        intrinsic, bias = method.predict_branches(images)
        if bias is None:
            raise ValueError(f"{method.name} has no bias branch")
        return torch.stack([intrinsic.argmax(-1), bias.argmax(-1)], -1)

    tables = []
    for name in SPLITS:
        split = data.splits[name]
        predicted = services.sweep(both_branches, name).cpu().numpy()
        left_out = held_out if name == "train" else np.ones((len(held_out), len(split)), bool)
        tables += [
            pd.DataFrame(
                {
                    "image_id": split.image_ids,
                    "split": name,
                    "label": split.labels,
                    "bias": split.bias,
                    "conflicting": split.conflicting,
                    "replica": replica,
                    "held_out": left_out[replica],
                    "prediction": predicted[replica, :, 0],
                    "bias_prediction": predicted[replica, :, 1],
                }
            )
            for replica in range(len(held_out))
        ]
    return pd.concat(tables, ignore_index=True)
