"""Predicted labels of a split."""

from contextlib import AbstractContextManager

import numpy as np
import numpy.typing as npt
import torch

from debias_pipeline.evaluation.data import ImageData
from debias_pipeline.methods import Method

# Large enough for full speed, small enough to stay in cache and in a small device's memory.
IMAGES_AT_ONCE = 1000


def mixed_precision(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """The autocast context of a precision, `fp32` or `bf16`."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


@torch.inference_mode()
def predict(method: Method, data: ImageData, split: str, precision: str) -> npt.NDArray[np.int64]:
    """Labels that each replica predicts for the images of a split.

    Args:
        method: trained networks, R replicas, on the data's device.
        data: the images.
        split: train, valid or test.
        precision: fp32 or bf16.

    Returns:
        int64, [R, n].
    """
    was_training = method.training
    method.eval()
    predictions = []
    with mixed_precision(data.device, precision):
        for rows in torch.split(data.splits[split].rows, IMAGES_AT_ONCE):
            images = method.recipe.transform.for_evaluation(data.gather(rows))
            predictions.append(method.predict(images.unsqueeze(0)).argmax(-1))
    method.train(was_training)
    return torch.cat(predictions, 1).cpu().numpy()
