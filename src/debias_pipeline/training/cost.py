"""The cost of a training run: images that pass through networks, and time."""

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from debias_pipeline.networks import ImageNetwork, image_networks, observed
from debias_pipeline.records import ImagePasses


class Cost:
    """Count the images that pass through networks during training, per seed, and the time.

    An image counts once for each network that it passes through: twice for an encoder of two
    branches. All stages, all networks of a method and its passes over whole splits count;
    evaluations do not. Images are counted by the shapes of tensors, so that nothing is read from
    the device.
    """

    def __init__(self) -> None:
        """Start with no images."""
        self._forward = self._backward = 0
        self._is_counting = True
        # A snapshot of an earlier version does not have the numbers of its steps.
        self._is_complete = True
        self._seconds_before = 0.0
        self._started = time.perf_counter()

    @contextmanager
    def counting(self, method: nn.Module) -> Iterator[None]:
        """Count the images that pass through the networks of a method."""
        with observed(image_networks(method), self._add):
            yield

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Count nothing meanwhile."""
        self._is_counting = False
        try:
            yield
        finally:
            self._is_counting = True

    def _add(self, network: ImageNetwork, features: Tensor) -> None:
        del network
        if not self._is_counting:
            return
        images = math.prod(features.shape[1:-1])
        self._forward += images
        if features.requires_grad:
            # Called if the gradient reaches the features: the network may be frozen in an update.
            features.register_hook(  # type: ignore[no-untyped-call]
                lambda gradient: self._add_backward(images)
            )

    def _add_backward(self, images: int) -> None:
        self._backward += images

    def image_passes(self) -> ImagePasses | None:
        """Return the images counted so far; None if a part of the run was not counted."""
        if not self._is_complete:
            return None
        return {"forward": self._forward, "backward": self._backward}

    def seconds_before(self) -> float:
        """Return the seconds of training before the run was resumed, 0 if it was not."""
        return self._seconds_before

    def state_dict(self) -> dict[str, Any]:
        """Return JSON values from which counting can be continued."""
        seconds = self._seconds_before + time.perf_counter() - self._started
        return {"image_passes": self.image_passes(), "seconds": seconds}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Restore the result of `state_dict`; empty for snapshots of earlier versions."""
        passes = saved.get("image_passes")
        self._is_complete = passes is not None
        if passes is not None:
            self._forward, self._backward = passes["forward"], passes["backward"]
        self._seconds_before = saved.get("seconds", 0.0)
