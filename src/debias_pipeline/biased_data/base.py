"""What every biased data set provides."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import BaseModel, ConfigDict

Headline = Literal["accuracy", "conflicting_accuracy"]


@dataclass(frozen=True)
class ContactSheet:
    """Cells side by side that show how a data set was made.

    Attributes:
        pixels: uint8, H × W × 3, RGB; cells of one size in rows and columns.
        rows: a name for each row.
        columns: a name for each column.
    """

    pixels: npt.NDArray[np.uint8]
    rows: tuple[str, ...]
    columns: tuple[str, ...]


@dataclass(frozen=True)
class SetSize:
    """How large a data set is.

    Attributes:
        train: images.
        valid: images.
        test: images.
        height: of an image.
        width: of an image.
        classes: how many labels there are.
    """

    train: int
    valid: int
    test: int
    height: int
    width: int
    classes: int


@dataclass(frozen=True)
class BiasedData:
    """A biased data set, decoded.

    Attributes:
        images: uint8, N × H × W × 3, RGB.
        manifest: one row per image, row i describes images[i] (see `manifest.Manifest`).
        data_card: what is worth knowing about the whole set; plain JSON values.
        contact_sheet: a picture of how the set was made, where there is something to show.
    """

    images: npt.NDArray[np.uint8]
    manifest: pd.DataFrame
    data_card: dict[str, Any]
    contact_sheet: ContactSheet | None = None


class DataOptions(BaseModel):
    """What a user may choose about one data set, beyond percent, raw_dir and seed.

    A data set that has options names a subclass as its `options_type`; each field, which needs
    a default, is then a key of `--params`, such as `severity=3`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)


class BiasedDataset(ABC):
    """A data set in which a bias attribute nearly always goes with the label.

    Attributes:
        name: as typed in `--params dataset=…`.
        headline: the metric that published tables quote for this set.
        label_name: what the label is, for people: "digit".
        bias_name: what the bias attribute is, for people: "colour".
        label_names: a name for each label, by label.
        bias_names: a name for each bias attribute value, by value.
        options_type: what else may be chosen about this set.
        has_percents: whether `percent` changes the data; if not, a grid has one setting of it.
        size: how large it is, for estimates before it is made; None where only the data says.
    """

    name: ClassVar[str]
    headline: ClassVar[Headline]
    label_name: ClassVar[str]
    bias_name: ClassVar[str]
    label_names: ClassVar[tuple[str, ...]]
    bias_names: ClassVar[tuple[str, ...]]
    options_type: ClassVar[type[DataOptions]] = DataOptions
    has_percents: ClassVar[bool] = True
    size: ClassVar[SetSize | None] = None

    @abstractmethod
    def build(
        self, percent: str, raw_dir: Path, seed: int, options: DataOptions | None = None
    ) -> BiasedData:
        """Make or read the set.

        Args:
            percent: share of bias-conflicting images as typed, such as "2pct" or "0.5pct".
            raw_dir: where raw data lies.
            seed: of every random choice; the same seed makes the same bytes.
            options: an instance of `options_type`; None is its defaults.

        Raises:
            UserError: if raw data is missing or damaged.
        """

    def lacks_bias_labels(self, raw_dir: Path, options: DataOptions) -> bool:
        """Return whether it is known before the set is made that no image has a bias label.

        Cheap: files are listed and not decoded.

        Args:
            raw_dir: see `build`.
            options: see `build`.

        Raises:
            UserError: if the files cannot be listed.
        """
        del raw_dir, options
        return False

    def raw_hash(self, percent: str, raw_dir: Path, options: DataOptions) -> str | None:
        """Return a hash of the raw files that `build` would read; it changes when they do.

        Cheap: files are listed and not decoded. Names in it are relative to `raw_dir`.

        Args:
            percent: see `build`.
            raw_dir: see `build`.
            options: see `build`.

        Returns:
            None if the set needs no raw files, or if there are none.

        Raises:
            UserError: if the files cannot be listed.
        """
        del percent, raw_dir, options
        return None

    def folder(self, percent: str, raw_dir: Path, seed: int, options: DataOptions) -> str:
        """Where results on this set are filed, relative, with forward slashes.

        Different data must never share a folder: whatever is not at its default is in the name.

        Args:
            percent: see `build`.
            raw_dir: see `build`.
            seed: see `build`.
            options: see `build`.
        """
        del raw_dir
        chosen = {
            name: value
            for name, value in options.model_dump().items()
            if value != type(options).model_fields[name].default
        }
        if seed:
            chosen["data"] = seed
        return "_".join([f"{self.name}/{percent}", *(f"{k}{v}" for k, v in chosen.items())])
