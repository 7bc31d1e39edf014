"""Base class of the biased data sets, and what they return."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from debias_pipeline.names import Headline
from debias_pipeline.records import DataDescription

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class ContactSheet:
    """A grid of example images that shows how the bias of a data set was made.

    Attributes:
        pixels: uint8, H × W × 3, RGB; all images have one size.
        rows: a name per row of the grid.
        columns: a name per column of the grid.
    """

    pixels: npt.NDArray[np.uint8]
    rows: tuple[str, ...]
    columns: tuple[str, ...]


@dataclass(frozen=True)
class SetSize:
    """Number of images per split, their height and width, and the number of labels."""

    train: int
    valid: int
    test: int
    height: int
    width: int
    classes: int


@dataclass(frozen=True)
class BiasedData:
    """A biased data set in memory.

    Attributes:
        images: uint8, N × H × W × 3, RGB.
        manifest: one row per image, row i describes images[i] (see `manifest.Manifest`).
        data_card: facts about the data set, see `manifest.make_data_card`.
        contact_sheet: example images, or None if the data set has no such grid.
        bad_files: files that were skipped because they cannot be used → why.
    """

    images: npt.NDArray[np.uint8]
    manifest: "pd.DataFrame"
    data_card: DataDescription
    contact_sheet: ContactSheet | None = None
    bad_files: Mapping[str, str] = field(default_factory=dict)


class DataOptions(BaseModel):
    """Options of a data set in addition to percent, raw_dir and seed.

    A data set with options sets `options_type` to a subclass. Each field needs a default and
    becomes a key of `--params`, such as `severity=3`.

    Attributes:
        label_options: names of the fields that change labels, bias and data card, but neither the
            images nor their order.
        published_options: names of the fields that may differ from the defaults in published
            experiments, so that published accuracies are shown for other values too. For other
            values of the other fields, none are shown.
    """

    label_options: ClassVar[frozenset[str]] = frozenset()
    published_options: ClassVar[frozenset[str]] = frozenset()

    model_config = ConfigDict(extra="forbid", frozen=True)


class BiasedDataset(ABC):
    """A data set in which a bias attribute predicts the label of most training images.

    Attributes:
        name: value of `--params dataset=…`.
        headline: the metric that published tables report.
        label_name: what the label is, e.g. "digit".
        bias_name: what the bias attribute is, e.g. "colour".
        label_names: a name per label.
        bias_names: a name per value of the bias attribute.
        options_type: the additional options.
        has_percents: whether `percent` changes the data; if not, a grid has a single setting of
            this data set.
        has_own_images: whether the images are the user's own, which others do not have.
        size: used to estimate memory and time before the data is built; None if unknown.
    """

    name: ClassVar[str]
    headline: ClassVar[Headline]
    label_name: ClassVar[str]
    bias_name: ClassVar[str]
    label_names: ClassVar[tuple[str, ...]]
    bias_names: ClassVar[tuple[str, ...]]
    options_type: ClassVar[type[DataOptions]] = DataOptions
    has_percents: ClassVar[bool] = True
    has_own_images: ClassVar[bool] = False
    size: ClassVar[SetSize | None] = None

    @abstractmethod
    def build(
        self, percent: str, raw_dir: Path, seed: int, options: DataOptions | None = None
    ) -> BiasedData:
        """Build or read the data set.

        Args:
            percent: percentage of bias-conflicting images, such as "2pct" or "0.5pct", unless a
                subclass documents another meaning; a data set without percents only records it.
            raw_dir: folder of the raw data.
            seed: of all random choices; the same seed gives the same bytes.
            options: an instance of `options_type`; None for the defaults.

        Raises:
            UserError: if `percent` or `raw_dir` is invalid, or raw data is missing or damaged.
        """

    def lacks_bias_labels(self, raw_dir: Path, options: DataOptions) -> bool:
        """Return whether it is known before building that no image has a bias label.

        Lists files but does not decode them.

        Raises:
            UserError: if the files cannot be listed.
        """
        del raw_dir, options
        return False

    def raw_hash(self, percent: str, raw_dir: Path, options: DataOptions) -> str | None:
        """Return a hash that changes if the raw files of `build` change.

        Lists files but does not decode them. The hash does not depend on the path of `raw_dir`.

        Returns:
            None if the data set needs no raw files, or if there are none.

        Raises:
            UserError: if the files cannot be listed.
        """
        del percent, raw_dir, options
        return None

    def title(self, percent: str, raw_dir: Path) -> str:
        """Return the name of the data for people: "cmnist, 2pct", or without percents "bar"."""
        del raw_dir
        return f"{self.name}, {percent}" if self.has_percents else self.name

    def folder(self, percent: str, raw_dir: Path, seed: int, options: DataOptions) -> str:
        """Return the folder for results on this data, relative, with forward slashes.

        Different data must not share a folder, so every option that is not at its default is part
        of the name.
        """
        del raw_dir
        return self._folder(percent if self.has_percents else "all", seed, options)

    def images_folder(self, percent: str, raw_dir: Path, seed: int, options: DataOptions) -> str:
        """Return the folder of the images, which settings that differ in labels only share."""
        fields = type(options).model_fields
        defaults = {name: fields[name].default for name in options.label_options}
        return self.folder(percent, raw_dir, seed, options.model_copy(update=defaults))

    def _folder(self, variant: str, seed: int, options: DataOptions) -> str:
        chosen = {
            name: value
            for name, value in options.model_dump().items()
            if value != type(options).model_fields[name].default
        }
        if seed:
            chosen["data"] = seed
        return "_".join([f"{self.name}/{variant}", *(f"{k}{v}" for k, v in chosen.items())])
