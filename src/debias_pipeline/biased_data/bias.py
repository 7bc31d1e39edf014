"""Draw the bias attribute of each image from its label.

Label and bias have the same `VALUES` values; an image is aligned if they are equal.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

VALUES: Final = 10


def bias_by_redrawing(
    label: npt.NDArray[np.int16], fraction: float, rng: np.random.Generator
) -> npt.NDArray[np.int16]:
    """Return a bias equal to the label, redrawn from all values for `fraction` of the images.

    A drawn value may equal the label, so about 0.9 × fraction of the images conflict, as in the
    published Colored MNIST.

    Args:
        label: int16, N.
        fraction: in 0..1; rounded to whole images.
        rng: selects the images and draws the values.

    Returns:
        int16, N.
    """
    bias = label.copy()
    chosen = _choose(len(label), fraction, rng)
    bias[chosen] = rng.integers(VALUES, size=len(chosen))
    return bias


def bias_by_conflict(
    label: npt.NDArray[np.int16], fraction: float, rng: np.random.Generator
) -> npt.NDArray[np.int16]:
    """Return a bias equal to the label, except for exactly `fraction` of the images.

    Args:
        label: int16, N.
        fraction: in 0..1; rounded to whole images. They get one of the other values.
        rng: selects the images and draws the values.

    Returns:
        int16, N.
    """
    bias = label.copy()
    chosen = _choose(len(label), fraction, rng)
    shift = rng.integers(1, VALUES, size=len(chosen))
    bias[chosen] = (label[chosen] + shift) % VALUES
    return bias


def bias_by_even_conflict(
    label: npt.NDArray[np.int16], fraction: float, rng: np.random.Generator
) -> npt.NDArray[np.int16]:
    """Return a bias equal to the label, except for `fraction` of the images of each label.

    The conflicting images of a label are spread evenly: two groups of the same label differ by at
    most one image, as in the generator of Colored MNIST published with LfF (Nam et al. 2020).

    Args:
        label: int16, N.
        fraction: in 0..1; rounded to whole images over all labels, and up or down per label.
        rng: selects the images.

    Returns:
        int16, N.
    """
    order = rng.permutation(len(label))
    by_label = order[np.argsort(label[order], kind="stable")]
    # How many of the first 0, 1, 2, … images conflict.
    conflicting = np.floor(np.arange(len(label) + 1) * fraction + 0.5)
    chosen = by_label[np.diff(conflicting) > 0]
    shift = np.arange(len(chosen)) % (VALUES - 1) + 1
    bias = label.copy()
    bias[chosen] = (label[chosen] + shift) % VALUES
    return bias


def bias_uniform(n: int, rng: np.random.Generator) -> npt.NDArray[np.int16]:
    """Return int16, n: a bias per image, drawn independently of the label."""
    return rng.integers(VALUES, size=n, dtype=np.int16)


def _choose(n: int, fraction: float, rng: np.random.Generator) -> npt.NDArray[np.intp]:
    # Round halves up: Python's `round` rounds 2.5 to 2, but 3.5 to 4.
    count = int(fraction * n + 0.5)
    return rng.permutation(n)[:count]
