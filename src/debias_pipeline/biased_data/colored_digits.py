"""Colour grey digits: shared by `cmnist` and `cmnist_mini`.

The colour is the bias attribute: each digit has one of ten. Mean colours, noise and colouring are
those of the Colored MNIST published with Lee et al. 2021 (arXiv 2107.01372).
"""

from collections.abc import Sequence
from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt

from debias_pipeline.biased_data.base import BiasedData, BiasedDataset
from debias_pipeline.biased_data.manifest import make_data
from debias_pipeline.biased_data.sources.digits import Digits
from debias_pipeline.names import Headline

MEAN_COLOURS: Final[npt.NDArray[np.float64]] = np.array(
    [
        (0.9837, 0.3125, 0.1686),
        (0.9905, 0.9156, 0.3515),
        (0.6730, 0.4611, 0.5798),
        (0.7833, 0.8316, 0.6013),
        (0.0880, 0.7780, 0.9818),
        (0.3214, 0.9611, 0.4464),
        (0.0246, 0.2357, 0.7587),
        (0.5552, 0.1016, 0.7618),
        (0.2077, 0.3929, 0.0187),
        (0.8337, 0.2024, 0.2669),
    ]
)
MEAN_COLOURS.flags.writeable = False
COLOUR_NOISE: Final = 0.02
COLOUR_NAMES: Final = (
    "vermilion",
    "yellow",
    "mauve",
    "sage",
    "sky blue",
    "light green",
    "blue",
    "purple",
    "dark green",
    "crimson",
)
DIGIT_NAMES: Final = tuple(str(digit) for digit in range(10))
# Images painted at a time; their float copy fits into the processor's cache.
_CHUNK: Final = 256


class ColouredDigits(BiasedDataset):
    """Base class of the data sets of coloured digits."""

    headline: ClassVar[Headline] = "accuracy"
    label_name: ClassVar[str] = "digit"
    bias_name: ClassVar[str] = "colour"
    label_names: ClassVar[tuple[str, ...]] = DIGIT_NAMES
    bias_names: ClassVar[tuple[str, ...]] = COLOUR_NAMES


def draw_colours(
    bias: npt.NDArray[np.int16], rng: np.random.Generator, noise: float = COLOUR_NOISE
) -> npt.NDArray[np.float32]:
    """Draw the colour of each image around the mean colour of its bias value.

    Args:
        bias: int16, N, in 0..9.
        rng: for normal noise per channel.
        noise: its standard deviation.

    Returns:
        float32, N × 3, RGB in 0..1.
    """
    drawn = MEAN_COLOURS[bias] + rng.normal(scale=noise, size=(len(bias), 3))
    return np.clip(drawn, 0, 1).astype(np.float32)


def paint(
    grey: npt.NDArray[np.uint8],
    rows: npt.NDArray[np.intp],
    colours: npt.NDArray[np.float32],
    out: npt.NDArray[np.uint8],
) -> None:
    """Colour digits: write grey level × colour, rounded to whole levels, to `out`.

    Args:
        grey: uint8, M × H × W.
        rows: int, N: the index in `grey` of each digit.
        colours: float32, N × 3, RGB in 0..1.
        out: uint8, N × H × W × 3, RGB; overwritten.
    """
    for start in range(0, len(rows), _CHUNK):
        chunk = slice(start, start + _CHUNK)
        levels = grey[rows[chunk]].astype(np.float32)
        # Channel by channel: broadcasting over the short last axis is many times slower.
        for channel in range(3):
            painted = levels * colours[chunk, channel, None, None]
            painted += 0.5  # the cast truncates, so this rounds
            out[chunk, ..., channel] = painted.astype(np.uint8)


def colour_digits(
    dataset: BiasedDataset,
    splits: Sequence[tuple[Digits, npt.NDArray[np.int16]]],
    *,
    percent: str,
    seed: int,
    rng: np.random.Generator,
    origin: str,
    noise: float = COLOUR_NOISE,
) -> BiasedData:
    """Colour the splits and join them into one data set.

    Args:
        splits: in the order of their images, each with the bias of its digits, the index of the
            mean colour.
        percent: for the data card.
        seed: for the data card.
        rng: for the noise in the colours.
        origin: for the data card, where the digits came from.
        noise: standard deviation of the noise in the colours.
    """
    height, width = splits[0][0].grey.shape[1:]
    total = sum(len(part.rows) for part, _ in splits)
    images = np.empty((total, height, width, 3), np.uint8)
    start = 0
    for part, of_part in splits:
        stop = start + len(part.rows)
        paint(part.grey, part.rows, draw_colours(of_part, rng, noise), images[start:stop])
        start = stop

    label = np.concatenate([part.label for part, _ in splits])
    bias = np.concatenate([of_part for _, of_part in splits])
    return make_data(
        dataset,
        images,
        percent=percent,
        seed=seed,
        origin=origin,
        split=np.repeat([part.split for part, _ in splits], [len(part.rows) for part, _ in splits]),
        label=label,
        bias=bias,
        conflicting=label != bias,
        source=[place for part, _ in splits for place in part.source],
    )
