"""Saliency maps: what changes the predictions of a method's branches if it is hidden.

Zeiler & Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014, section 4.2.
Gradients give noise for networks as small as the MLP; hiding parts gives readable pictures for all.
"""

from dataclasses import replace
from typing import Any, Final

import pandas as pd
import torch
from torch import Tensor

from debias_pipeline.images import ImageData
from debias_pipeline.methods import Method

# The most and the least suspicious image of so many labels are explained; of fewer if the images
# are large, as their networks are slow. On one thread, a pair of ResNet-18 took 15 s for 12 images
# of 64 × 64 pixels, and 60 s for 6 images of 224 × 224.
_MOST_LABELS: Final = 6
_MOST_LABELS_OF_LARGE: Final = 3
_LARGE: Final = 128
# Sides of the hidden window and of its steps, as fractions of the side of the image. The networks
# of the smallest images are so fast that finer steps cost nothing.
_WINDOW: Final = 1 / 4
_STEP: Final = 1 / 8
_FINE_STEP: Final = 1 / 16
_SMALL: Final = 32


def images_to_explain(suspects: pd.DataFrame, most_labels: int) -> pd.DataFrame:
    """Return the rows of the most and the least suspicious image of the first labels.

    Args:
        suspects: see `rank_suspects`. Labels come in the order of their most suspicious images.
        most_labels: number of labels.
    """
    labels = suspects["label"].drop_duplicates().head(most_labels)
    rows: list[pd.DataFrame] = []
    for label in labels:
        of_label = suspects[suspects["label"] == label]
        rows += [of_label.head(1), of_label.iloc[1:].tail(1)]
    chosen: pd.DataFrame = pd.concat(rows)
    return chosen


@torch.inference_mode()
def explain(
    method: Method, data: ImageData, manifest: pd.DataFrame, suspects: pd.DataFrame
) -> dict[str, Any]:
    """Return the catalog's `saliency`: saliency maps of both branches for a few images.

    The value at a pixel is how much lower the evidence for the label that the branch predicts is
    if a window with the pixel is replaced by the mean colour of the explained images: the mean over
    windows of the differences of the log-odds of the label. It is negative where an image speaks
    against the prediction.

    Args:
        method: trained networks in eval mode; those of the first replica are used.
        data: the images.
        manifest: row i describes image i.
        suspects: see `rank_suspects`.

    Returns:
        tensors `images`, uint8 [n, H, W, 3], as the network sees them; `maps`, float32
        [n, 2, H, W], and `predictions`, int64 [n, 2], of the debiased and of the bias branch.
        Metadata `files`, one per image, and `seed`.

    Raises:
        ValueError: if the method has no bias branch.
    """
    side = max(method.task.image_shape[:2])
    most_labels = _MOST_LABELS if side < _LARGE else _MOST_LABELS_OF_LARGE
    explained = images_to_explain(suspects, most_labels)
    # An image can be in two splits.
    in_order = zip(manifest["split"], manifest["source"], strict=True)
    row_of = {place: row for row, place in enumerate(in_order)}
    places = zip(explained["split"], explained["file"], strict=True)
    pixels = data.gather(torch.tensor([row_of[place] for place in places]))
    transform = method.recipe.transform
    inputs = transform.for_evaluation(pixels)
    shown = replace(transform, normalise="none").for_evaluation(pixels)
    if shown.is_floating_point():
        shown = (255 * shown).round().to(torch.uint8)
    return {
        "tensors": {
            "images": shown.movedim(1, -1).contiguous().cpu(),
            "maps": occlusion_maps(method, inputs).cpu(),
            "predictions": _branches(method, inputs).argmax(-1).cpu(),
        },
        "metadata": {"files": explained["file"].tolist(), "seed": int(method.task.seeds[0])},
    }


@torch.inference_mode()
def occlusion_maps(method: Method, images: Tensor) -> Tensor:
    """Return how the log-odds of each branch's prediction depend on the parts of images.

    Args:
        method: trained networks in eval mode; those of the first replica are used.
        images: transformed for evaluation, [n, 3, H, W].

    Returns:
        float32, [n, 2, H, W]: of the debiased and of the bias branch; see `explain`.

    Raises:
        ValueError: if the method has no bias branch.
    """
    # Imported here, as it takes a second that every command would wait for.
    from captum.attr import Occlusion

    def log_odds(inputs: Tensor) -> Tensor:
        """Return log p − log(1 − p) of the label that each branch predicts, [n, 2]."""
        logits = _branches(method, inputs.to(images.dtype))
        of_label = logits.gather(-1, predicted)
        others = logits.scatter(-1, predicted, float("-inf")).logsumexp(-1, keepdim=True)
        return (of_label - others).squeeze(-1)

    predicted = _branches(method, images).argmax(-1, keepdim=True)
    inputs = images.float()
    height, width = inputs.shape[2:]
    step = _FINE_STEP if max(height, width) < _SMALL else _STEP
    window = tuple(max(1, round(_WINDOW * side)) for side in (height, width))
    strides = tuple(max(1, round(step * side)) for side in (height, width))
    # A value per image and branch makes captum return a map for each of them.
    maps: Tensor = Occlusion(log_odds).attribute(
        inputs,
        sliding_window_shapes=(3, *window),
        strides=(3, *strides),
        baselines=inputs.mean((0, 2, 3), keepdim=True).expand_as(inputs[:1]),
    )
    return maps[:, 0].view(len(images), 2, height, width)


def _branches(method: Method, images: Tensor) -> Tensor:
    """Return the logits of the first replica, float32, [n, 2, C]: debiased, bias branch."""
    logits, bias_logits = method.predict_branches(images.unsqueeze(0))
    if bias_logits is None:
        raise ValueError(f"{method.name} has no bias branch")
    return torch.stack([logits[0], bias_logits[0]], 1).float()
