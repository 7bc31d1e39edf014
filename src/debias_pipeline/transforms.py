"""Transform whole batches of images on the device."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final, Literal

import torch
from torch import Tensor

from debias_pipeline.errors import RecipeError

# Mean and standard deviation per channel of pixels in 0..1. The published code of Lee et al. 2021
# normalises all photographs with those of CIFAR-10. Networks with ImageNet weights expect those of
# ImageNet. ReBias (Bahng et al. 2020) normalises Biased MNIST with one half each.
STATISTICS: Final = {
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
}


@dataclass(frozen=True)
class Transform:
    """The transform of images for a network, step by step in the order of the attributes.

    Attributes:
        square: crop to the largest central square.
        resize: side in pixels that images are resized to (bilinear, antialiased), or None.
        centre_crop: side in pixels of the central square that is kept, or None.
        crop_padding: pixels of black padding before a random crop to the old size; 0 for no
            crop. Training only.
        flip: mirror left and right with probability one half. Training only.
        normalise: the STATISTICS by which channels are normalised, or none.
    """

    square: bool = False
    resize: int | None = None
    centre_crop: int | None = None
    crop_padding: int = 0
    flip: bool = False
    normalise: Literal["none", "cifar10", "imagenet", "half"] = "none"

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """Return height and width of transformed images.

        Raises:
            RecipeError: if the images are smaller than the centre crop.
        """
        if self.square:
            height = width = min(height, width)
        if self.resize is not None:
            height = width = self.resize
        if self.centre_crop is None:
            return height, width
        if self.centre_crop > min(height, width):
            raise RecipeError(
                f"{{recipe}}.centre_crop={self.centre_crop} is larger than the images "
                f"({height} × {width} pixels); use a smaller one, or set {{recipe}}.resize"
            )
        return self.centre_crop, self.centre_crop

    def for_evaluation(self, images: Tensor) -> Tensor:
        """Transform images for evaluation.

        Args:
            images: uint8, [n, H, W, 3].

        Returns:
            [n, 3, H′, W′], channels last in memory: float32 in 0..1 or normalised, or uint8 if the
            transform has no steps.
        """
        return self._normalised(self._sized(images))

    def for_training(self, images: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
        """Transform images for training, with random crops and flips.

        Args:
            images: uint8, [R · B, H, W, 3], replica after replica.
            generators: one per replica, on the CPU.

        Returns:
            See `for_evaluation`.
        """
        pixels = self._sized(images)
        each = len(pixels) // len(generators)
        if self.crop_padding:
            pixels = self._cropped(pixels, each, generators)
        if self.flip:
            drawn = [torch.rand(each, generator=of_seed) < 0.5 for of_seed in generators]
            mirrored = torch.cat(drawn).to(pixels.device, non_blocking=True)
            pixels = torch.where(mirrored.view(-1, 1, 1, 1), pixels.flip(3), pixels)
        return self._normalised(pixels)

    def _sized(self, images: Tensor) -> Tensor:
        """Resize and crop to [n, 3, H′, W′]: float in 0..255 if resized, else uint8."""
        pixels = images.movedim(-1, 1)
        if self.square:
            pixels = _central(pixels, min(map(int, pixels.shape[2:])))
        if self.resize is not None and pixels.shape[2:] != (self.resize, self.resize):
            size = (self.resize, self.resize)
            pixels = torch.nn.functional.interpolate(
                pixels.float(), size, mode="bilinear", antialias=True
            )
        return pixels if self.centre_crop is None else _central(pixels, self.centre_crop)

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
        if self.normalise == "none":
            return floats.mul_(1 / 255)
        factor, offset = _normalisation(self.normalise, floats.device)
        return floats.mul_(factor).sub_(offset)


def _central(pixels: Tensor, side: int) -> Tensor:
    """Return the central square, with the rounding of torchvision."""
    # Sizes are tensors while a network is exported.
    top, left = (round((int(size) - side) / 2) for size in pixels.shape[2:])
    return pixels[:, :, top : top + side, left : left + side]


@cache
def _normalisation(statistics: str, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the factor for pixels in 0..255 and the offset that is then subtracted.

    Cached, as copying to a GPU at every step would make it wait.
    """
    mean, std = (torch.tensor(each, device=device).view(3, 1, 1) for each in STATISTICS[statistics])
    return 1 / (255 * std), mean / std


UNCHANGED = Transform()
