"""Services of a training run that a method may call."""

from collections.abc import Callable

import torch
from torch import Tensor

from debias_pipeline.errors import UserError
from debias_pipeline.evaluation.predict import IMAGES_AT_ONCE, in_eval_mode, mixed_precision
from debias_pipeline.images import ImageData
from debias_pipeline.methods import Method


class TrainingServices:
    """Labels, bias labels and predictions of whole splits; see `methods.Run`."""

    def __init__(self, method: Method, data: ImageData, precision: str) -> None:
        """Set up.

        Args:
            method: being trained.
            data: being trained on.
            precision: fp32 or bf16.
        """
        self._method, self._data, self._precision = method, data, precision

    def labels(self, split: str) -> Tensor:
        """See `methods.Run`."""
        return torch.tensor(self._data.splits[split].labels)

    def bias(self, split: str) -> Tensor:
        """See `methods.Run`."""
        if not self._method.is_oracle():
            raise RuntimeError(
                f"{self._method.name} reads bias labels, but its bias_labels is "
                f"{self._method.bias_labels!r}; set it to 'training' or 'heldout'"
            )
        bias = torch.tensor(self._data.splits[split].bias)
        if bool((bias < 0).any()):
            raise UserError(
                f"{int((bias < 0).sum())} of {len(bias)} images of the {split} split have no bias "
                f"label, and {self._method.name} needs them; add them, or use another method"
            )
        return bias

    @torch.inference_mode()
    def sweep(
        self, function: Callable[[Tensor], Tensor], split: str = "train", *, augment: bool = False
    ) -> Tensor:
        """See `methods.Run`."""
        transform, replicas = self._method.recipe.transform, self._method.task.replicas
        random = self._method.random_stream("sweep") if augment else ()
        results = []
        precision = mixed_precision(self._data.device, self._precision)
        with in_eval_mode(self._method), precision:
            for rows in torch.split(self._data.splits[split].rows, IMAGES_AT_ONCE):
                pixels = self._data.gather(rows)
                if augment:
                    repeated = pixels.repeat(replicas, *[1] * (pixels.ndim - 1))
                    images = transform.for_training(repeated, random)
                    images = images.view(replicas, len(rows), *images.shape[1:])
                else:
                    images = transform.for_evaluation(pixels).unsqueeze(0)
                results.append(function(images))
        return torch.cat(results, 1)
