"""Predict the labels of a split."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
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


def images_in_parts(method: Method, data: ImageData, rows: torch.Tensor) -> Iterator[torch.Tensor]:
    """Yield images as the method evaluates them, [1, ≤ IMAGES_AT_ONCE, 3, H, W].

    Args:
        method: its recipe has the transform.
        data: the images.
        rows: int64, [n], see `ImageData.gather`.
    """
    for part in torch.split(rows, IMAGES_AT_ONCE):
        yield method.recipe.transform.for_evaluation(data.gather(part)).unsqueeze(0)


@contextmanager
def in_eval_mode(method: Method) -> Iterator[None]:
    """Within the block, all modules of a method are in eval mode; then each has its mode again."""
    modes = {module: module.training for module in method.modules()}
    method.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


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
    labels, bias_branch = [], []
    with in_eval_mode(method), mixed_precision(data.device, precision):
        for images in images_in_parts(method, data, data.splits[split].rows):
            logits, bias_logits = method.predict_branches(images)
            _check(method, logits, images.shape[1])
            labels.append(logits.argmax(-1))
            if bias_logits is not None:
                _check(method, bias_logits, images.shape[1])
                bias_branch.append(bias_logits.argmax(-1))
    return Predictions(_joined(labels), _joined(bias_branch) if bias_branch else None)


def _check(method: Method, logits: torch.Tensor, images: int) -> None:
    shape = (method.task.replicas, images, method.task.classes)
    what = f"{method.name}: its predictions have"
    check_shape(what, logits, shape, "seeds × images × classes")


def _joined(parts: list[torch.Tensor]) -> npt.NDArray[np.int64]:
    return torch.cat(parts, 1).cpu().numpy()
