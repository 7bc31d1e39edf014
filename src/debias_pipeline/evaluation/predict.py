"""Predict the labels of a split."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from debias_pipeline.images import ImageData
from debias_pipeline.methods import Method, check_shape

# Large enough for full speed, and small enough for caches and the memory of small devices.
IMAGES_AT_ONCE = 1000


def mixed_precision(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """Return the autocast context of a precision, `fp32` or `bf16`."""
    return torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else nullcontext()


@dataclass(frozen=True)
class Predictions:
    """Predicted labels of R replicas for n images.

    Attributes:
        labels: int64, [R, n].
        bias_branch: int64, [R, n], predictions of the bias branch, or None if there is none.
    """

    labels: npt.NDArray[np.int64]
    bias_branch: npt.NDArray[np.int64] | None = None


@torch.inference_mode()
def predict(method: Method, data: ImageData, split: str, precision: str) -> Predictions:
    """Predict the labels of the images of a split with every replica.

    Args:
        method: trained networks, R replicas, on the data's device.
        data: the images.
        split: train, valid or test.
        precision: fp32 or bf16.

    Raises:
        UserError: if logits have a wrong shape.
    """
    was_training = method.training
    method.eval()
    labels, bias_branch = [], []
    with mixed_precision(data.device, precision):
        for rows in torch.split(data.splits[split].rows, IMAGES_AT_ONCE):
            images = method.recipe.transform.for_evaluation(data.gather(rows))
            logits, bias_logits = method.predict_branches(images.unsqueeze(0))
            _check(method, logits, len(rows))
            labels.append(logits.argmax(-1))
            if bias_logits is not None:
                _check(method, bias_logits, len(rows))
                bias_branch.append(bias_logits.argmax(-1))
    method.train(was_training)
    return Predictions(_joined(labels), _joined(bias_branch) if bias_branch else None)


def _check(method: Method, logits: torch.Tensor, images: int) -> None:
    shape = (method.task.replicas, images, method.task.classes)
    what = f"{method.name}: its predictions have"
    check_shape(what, logits, shape, "seeds × images × classes")


def _joined(parts: list[torch.Tensor]) -> npt.NDArray[np.int64]:
    return torch.cat(parts, 1).cpu().numpy()
