"""Find feature units that are zero for every image: a sign that training has collapsed."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from debias_pipeline.evaluation.predict import in_eval_mode
from debias_pipeline.methods import Method
from debias_pipeline.networks import ImageNetwork, image_networks, observed


class FeatureUnits:
    """Which units of the features that predictions are made from are not zero for some image.

    The features are those of the networks that `Method.predict` uses. Of an encoder of several
    branches they are those of branch 0, the debiased one.
    """

    def __init__(self, method: Method) -> None:
        """Start without images."""
        self._method = method
        self._alive: dict[ImageNetwork, Tensor] = {}

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Look at the features of all images that the method predicts meanwhile."""
        with observed(networks_of_predictions(self._method), self._look):
            yield

    def _look(self, network: ImageNetwork, features: Tensor) -> None:
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
def networks_of_predictions(method: Method) -> list[ImageNetwork]:
    """Return the networks that `predict` uses, found by predicting a black image."""
    used: dict[ImageNetwork, None] = {}
    height, width, channels = method.task.image_shape
    device = next(method.parameters()).device
    watching = observed(image_networks(method), lambda network, _: used.setdefault(network))
    with in_eval_mode(method), watching:
        method.predict(torch.zeros(1, 1, channels, height, width, device=device))
    return [*used]
