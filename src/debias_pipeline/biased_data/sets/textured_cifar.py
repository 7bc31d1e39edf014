"""Textured CIFAR: animals and vehicles of CIFAR-10 on backgrounds of two textures."""

from pathlib import Path
from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt

from debias_pipeline.biased_data.base import (
    BiasedData,
    BiasedDataset,
    ContactSheet,
    DataOptions,
    SetSize,
)
from debias_pipeline.biased_data.hashes import files_hash
from debias_pipeline.biased_data.manifest import make_data
from debias_pipeline.biased_data.percent import parse_percent
from debias_pipeline.biased_data.sources.cifar10 import (
    CLASS_NAMES,
    LabelledImages,
    cifar10_files,
    read_cifar10,
)
from debias_pipeline.biased_data.sources.raw_dir import check_raw_dir
from debias_pipeline.names import SPLITS, Headline

_VEHICLES: Final = ("airplane", "automobile", "ship", "truck")
# Images per class of CIFAR-10 and split, at most; fewer if there are fewer.
_PER_CLASS: Final = {"train": 1_000, "valid": 200, "test": 400}
_SIDE: Final = 48
_INNER: Final = 32
_BORDER: Final = (_SIDE - _INNER) // 2
_EXAMPLES: Final = 4

Pixels = npt.NDArray[np.uint8]
Numbers = npt.NDArray[np.int16]


class TexturedCifar10(BiasedDataset):
    """A small set that is made like Waterbirds, from CIFAR-10 and computed textures.

    An image of CIFAR-10 is in the centre of a background of upright or level waves of any colour.
    Animals are on upright waves and vehicles on level ones, except for `percent` of the training
    images of each label. In the validation and test splits, half of the images of each label are
    on each texture.
    """

    name: ClassVar[str] = "textured_cifar"
    headline: ClassVar[Headline] = "accuracy"
    label_name: ClassVar[str] = "kind"
    bias_name: ClassVar[str] = "background"
    label_names: ClassVar[tuple[str, ...]] = ("animal", "vehicle")
    bias_names: ClassVar[tuple[str, ...]] = ("upright waves", "level waves")
    size: ClassVar[SetSize | None] = SetSize(10_000, 2_000, 4_000, _SIDE, _SIDE, 2)

    def build(
        self, percent: str, raw_dir: Path, seed: int, options: DataOptions | None = None
    ) -> BiasedData:
        """Put images of CIFAR-10, which is downloaded to `raw_dir` if missing, on textures.

        Args:
            percent: percentage of the training images of each label that conflict.
            raw_dir: contains CIFAR-10 in one of the forms of `read_cifar10`.
            seed: for the choice of the images, their backgrounds and the textures.

        Returns:
            images uint8, 16,000 × 48 × 48 × 3.

        Raises:
            UserError: if `percent` or `raw_dir` is invalid, or CIFAR-10 is damaged or cannot be
                downloaded.
        """
        fraction = parse_percent(percent)
        check_raw_dir(raw_dir)
        cifar10 = read_cifar10(raw_dir)
        choice_rng, bias_rng, texture_rng = (
            np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(3)
        )
        rows = _choose(cifar10.train, cifar10.test, choice_rng)
        parts, labels, biases, sources = [], [], [], []
        for split in SPLITS:
            half = cifar10.test if split == "test" else cifar10.train
            label = _labels(half)[rows[split]]
            parts.append(half.images[rows[split]])
            labels.append(label)
            biases.append(_bias(label, fraction if split == "train" else 0.5, bias_rng))
            sources += [half.source[row] for row in rows[split]]
        label, bias = np.concatenate(labels), np.concatenate(biases)
        images = wave_textures(bias, _SIDE, texture_rng)
        inner = slice(_BORDER, _BORDER + _INNER)
        images[:, inner, inner] = np.concatenate(parts)
        return make_data(
            self,
            images,
            percent=percent,
            seed=seed,
            origin=f"CIFAR-10 ({cifar10.origin}) on computed textures",
            split=np.repeat(SPLITS, [len(rows[split]) for split in SPLITS]),
            label=label,
            bias=bias,
            conflicting=label != bias,
            source=sources,
            contact_sheet=_contact_sheet(self, images, label, bias),
        )

    def raw_hash(self, percent: str, raw_dir: Path, options: DataOptions) -> str | None:
        """Hash names and sizes of the CIFAR-10 files."""
        return files_hash(cifar10_files(raw_dir), times=False)


def wave_textures(bias: Numbers, side: int, rng: np.random.Generator) -> Pixels:
    """Draw textures of noisy waves, each with its own two colours, wavelength and shape.

    Args:
        bias: int16, N; 0 for upright waves, 1 for level ones.
        side: height and width in pixels.

    Returns:
        uint8, N × side × side × 3.
    """
    textures = np.empty((len(bias), side, side, 3), np.uint8)
    along, across = np.indices((side, side), np.float32)
    for texture, is_level in zip(textures, bias, strict=True):
        length, bend_length, phase, bend_phase = rng.uniform(
            (5, 20, 0, 0), (10, 40, 2 * np.pi, 2 * np.pi)
        )
        bend = rng.uniform(0, 3) * np.sin(2 * np.pi * along / bend_length + bend_phase)
        height = 0.5 + 0.5 * np.sin(2 * np.pi * (across + bend) / length + phase)
        # Of colours that are too similar, the waves could not be seen.
        dark, bright = rng.uniform(30, 110, 3), rng.uniform(140, 225, 3)
        noise = rng.normal(0, 12, (side, side, 1))
        levels = dark + height[..., None] * (bright - dark) + noise
        upright = levels.clip(0, 255).astype(np.uint8)
        texture[:] = upright.transpose(1, 0, 2) if is_level else upright
    return textures


def _labels(half: LabelledImages) -> Numbers:
    vehicles = [CLASS_NAMES.index(name) for name in _VEHICLES]
    return np.isin(half.label, vehicles).astype(np.int16)


def _choose(
    train: LabelledImages, test: LabelledImages, rng: np.random.Generator
) -> dict[str, npt.NDArray[np.intp]]:
    """Choose images of each class of CIFAR-10; the order within a split is random."""
    chosen: dict[str, list[npt.NDArray[np.intp]]] = {split: [] for split in SPLITS}
    for number in range(len(CLASS_NAMES)):
        own = rng.permutation(np.flatnonzero(train.label == number))
        # One image in six is for validation, also if there are few.
        n_valid = min(_PER_CLASS["valid"], len(own) // 6)
        chosen["valid"].append(own[:n_valid])
        chosen["train"].append(own[n_valid:][: _PER_CLASS["train"]])
        own = rng.permutation(np.flatnonzero(test.label == number))
        chosen["test"].append(own[: _PER_CLASS["test"]])
    return {split: rng.permutation(np.concatenate(rows)) for split, rows in chosen.items()}


def _bias(label: Numbers, fraction: float, rng: np.random.Generator) -> Numbers:
    """Return a bias that differs from the label for `fraction` of the images of each label."""
    bias = label.copy()
    for value in (0, 1):
        own = rng.permutation(np.flatnonzero(label == value))
        conflicting = own[: int(len(own) * fraction + 0.5)]
        bias[conflicting] = 1 - value
    return bias


def _contact_sheet(
    dataset: BiasedDataset, images: Pixels, label: Numbers, bias: Numbers
) -> ContactSheet | None:
    """Return examples of each group, if there are enough; the sheet has a row per group."""
    groups = [(one, other) for one in (0, 1) for other in (0, 1)]
    found = [np.flatnonzero((label == one) & (bias == other))[:_EXAMPLES] for one, other in groups]
    if min(map(len, found)) < _EXAMPLES:
        return None
    pixels = np.concatenate([np.concatenate(images[rows], axis=1) for rows in found])
    names = (f"{dataset.label_names[one]}, {dataset.bias_names[other]}" for one, other in groups)
    return ContactSheet(pixels, tuple(names), tuple(str(1 + each) for each in range(_EXAMPLES)))
