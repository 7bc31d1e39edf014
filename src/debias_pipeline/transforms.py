"""Transforms of whole batches on the device, in place of torchvision's per-image ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

# Published code normalises every data set of photographs with CIFAR-10's statistics.
MEAN = (0.4914, 0.4822, 0.4465)
STD = (0.2023, 0.1994, 0.2010)


@dataclass(frozen=True)
class Transform:
    """What is done to images before a network sees them.

    Attributes:
        resize: side in pixels that images are resized to (bilinear, antialiased), or None.
        crop_padding: pixels of black put around an image before a random crop of the old size;
            0 for no crop. Training only.
        flip: mirror left and right with probability one half. Training only.
        normalise: subtract MEAN and divide by STD, per channel.
    """

    resize: int | None = None
    crop_padding: int = 0
    flip: bool = False
    normalise: bool = False

    def for_evaluation(self, images: Tensor) -> Tensor:
        """Transform without anything random.

        Args:
            images: uint8, [n, H, W, 3].

        Returns:
            [n, 3, H′, W′], channels last in memory: float32 in 0..1 or normalised; where nothing
            is to be done, uint8 in 0..255 as they are.
        """
        return self._normalised(self._resized(images))

    def for_training(self, images: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
        """Transform with random crops and flips.

        Args:
            images: uint8, [R · B, H, W, 3], replica after replica.
            generators: one per replica, on the CPU.

        Returns:
            See `for_evaluation`.
        """
        pixels = self._resized(images)
        each = len(pixels) // len(generators)
        if self.crop_padding:
            pixels = self._cropped(pixels, each, generators)
        if self.flip:
            drawn = [torch.rand(each, generator=of_seed) < 0.5 for of_seed in generators]
            mirrored = torch.cat(drawn).to(pixels.device, non_blocking=True)
            pixels = torch.where(mirrored.view(-1, 1, 1, 1), pixels.flip(3), pixels)
        return self._normalised(pixels)

    def _resized(self, images: Tensor) -> Tensor:
        """As [n, 3, H, W]: uint8 as they are, or resized floats in 0..255."""
        pixels = images.movedim(-1, 1)
        if self.resize is None or pixels.shape[2:] == (self.resize, self.resize):
            return pixels
        size = (self.resize, self.resize)
        return torch.nn.functional.interpolate(
            pixels.float(), size, mode="bilinear", antialias=True
        )

    def _cropped(self, pixels: Tensor, each: int, generators: Sequence[torch.Generator]) -> Tensor:
        padding, (height, width) = self.crop_padding, pixels.shape[2:]
        choices = 2 * padding + 1
        drawn = [torch.randint(choices, (2, each), generator=of_seed) for of_seed in generators]
        top, left = torch.cat(drawn, 1).to(pixels.device, non_blocking=True)
        padded = torch.nn.functional.pad(pixels, (padding,) * 4)
        windows = padded.movedim(1, -1).unfold(1, height, 1).unfold(2, width, 1)
        every = torch.arange(len(pixels), device=pixels.device)
        return windows[every, top, left]

    def _normalised(self, pixels: Tensor) -> Tensor:
        if self == UNCHANGED:
            return pixels
        # Converting first and scaling in place is faster than dividing uint8.
        floats = pixels.to(torch.float32, memory_format=torch.channels_last, copy=True)
        if not self.normalise:
            return floats.mul_(1 / 255)
        factor, offset = _normalisation(floats.device)
        return floats.mul_(factor).sub_(offset)


@cache
def _normalisation(device: torch.device) -> tuple[Tensor, Tensor]:
    """What pixels in 0..255 are multiplied by, and what is then taken off.

    Made once a device: a GPU would wait for the copy at every step.
    """
    mean, std = (torch.tensor(each, device=device).view(3, 1, 1) for each in (MEAN, STD))
    return 1 / (255 * std), mean / std


UNCHANGED = Transform()
