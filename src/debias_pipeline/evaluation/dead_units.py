"""Find feature units that are zero for every image: a sign that training has collapsed."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from debias_pipeline.methods import Method
from debias_pipeline.networks import ImageNetwork


class FeatureUnits:
    """Which units of the features that predictions are made from are not zero for some image.

    The features are those of the networks that `Method.predict` uses. Of an encoder of several
    branches they are those of branch 0, the debiased one.
    """

    def __init__(self, method: Method) -> None:
        """Start without images."""
        self._method = method
        self._alive: dict[nn.Module, Tensor] = {}

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Look at the features of all images that the method predicts meanwhile."""
        networks = _networks_of_predictions(self._method)
        handles = [each.register_forward_hook(self._look) for each in networks]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _look(self, network: nn.Module, inputs: object, output: Any) -> None:
        del inputs
        features: Tensor = output[0] if isinstance(output, tuple) else output
        if features.ndim == 4:
            features = features[:, 0]
        alive = (features != 0).any(1)
        earlier = self._alive.get(network)
        self._alive[network] = alive if earlier is None else alive | earlier

    def dead_share(self) -> npt.NDArray[np.float64]:
        """Return the share of units that were zero for every image, by replica: [R], in 0..1.

        It is NaN if no network of predictions is an `ImageNetwork`.
        """
        if not self._alive:
            return np.full(self._method.task.replicas, np.nan)
        alive = torch.cat([*self._alive.values()], 1)
        share: npt.NDArray[np.float64] = (~alive).double().mean(1).cpu().numpy()
        return share


@torch.inference_mode()
def _networks_of_predictions(method: Method) -> list[nn.Module]:
    """Return the networks that `predict` uses, found by predicting a black image."""
    used: dict[nn.Module, None] = {}
    networks = [each for each in method.modules() if isinstance(each, ImageNetwork)]
    handles = [
        each.register_forward_hook(lambda network, *_: used.setdefault(network))
        for each in networks
    ]
    height, width, channels = method.task.image_shape
    device = next(method.parameters()).device
    modes = {module: module.training for module in method.modules()}
    method.eval()
    try:
        method.predict(torch.zeros(1, 1, channels, height, width, device=device))
    finally:
        for handle in handles:
            handle.remove()
        for module, mode in modes.items():
            module.training = mode
    return [*used]
