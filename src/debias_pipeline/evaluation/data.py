"""A biased data set on the device that computes."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from debias_pipeline.errors import UserError
from debias_pipeline.evaluation.memory import (
    available_memory,
    expect_random_reads,
    read_ahead,
)

SPLITS = ("train", "valid", "test")
# Of what is available; the rest is for networks and the tensors of a step.
MOST_OF_MEMORY = 0.75


def conflict_codes(conflicting: "pd.Series[bool]") -> npt.NDArray[np.int8]:
    """A nullable boolean column as 1 bias-conflicting, 0 bias-aligned, −1 unknown."""
    return np.asarray(conflicting.astype("Int8").fillna(-1), dtype=np.int8)


@dataclass(frozen=True)
class Split:
    """The images of one split.

    Attributes:
        image_ids: int64, [n].
        rows: int64, [n], where each image lies in `ImageData.images`.
        labels: int64, [n].
        bias: int64, [n], −1 where unknown.
        conflicting: int8, [n]: 1 bias-conflicting, 0 bias-aligned, −1 unknown.
    """

    image_ids: npt.NDArray[np.int64]
    rows: Tensor
    labels: npt.NDArray[np.int64]
    bias: npt.NDArray[np.int64]
    conflicting: npt.NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.labels)

    @classmethod
    def from_manifest(
        cls, manifest: pd.DataFrame, name: str, device: torch.device | None = None
    ) -> "Split":
        """One split of a manifest, its rows on a device.

        Raises:
            UserError: if the split has no image.
        """
        rows = np.flatnonzero((manifest["split"] == name).to_numpy())
        if len(rows) == 0:
            raise UserError(f"The manifest has no image in the {name} split: make the data again.")
        part = manifest.iloc[rows]
        return cls(
            image_ids=part["image_id"].to_numpy(np.int64),
            rows=torch.from_numpy(rows).to(device),
            labels=part["label"].to_numpy(np.int64),
            bias=part["bias"].to_numpy(np.int64),
            conflicting=conflict_codes(part["conflicting"]),
        )


@dataclass(frozen=True)
class ImageData:
    """The decoded images, all on one device, and the splits of them.

    Attributes:
        images: uint8, [N, H, W, 3]; on the CPU it is the catalog's memory map itself.
        splits: train, valid, test.
        on_disk: whether images are to be read from the memory map each time they are needed, as
            memory would not hold all of them.
    """

    images: Tensor
    splits: Mapping[str, Split]
    on_disk: bool = False

    @property
    def device(self) -> torch.device:
        """Where the images lie."""
        return self.images.device

    @classmethod
    def from_catalog(
        cls, images: npt.NDArray[np.uint8], manifest: pd.DataFrame, device: torch.device
    ) -> "ImageData":
        """Put `images` and `manifest` of the catalog on a device.

        Raises:
            UserError: if images and manifest do not belong together or a split is empty.
        """
        if len(images) != len(manifest):
            raise UserError(
                f"{len(images)} images but {len(manifest)} rows in the manifest: "
                "make both again with kedro run --pipeline=ingestion"
            )
        with warnings.catch_warnings():
            # The map is read-only on purpose and nothing writes to the tensor.
            warnings.filterwarnings("ignore", "The given NumPy array is not writable")
            on_device = torch.from_numpy(images).to(device)
        on_disk = device.type == "cpu" and images.nbytes > MOST_OF_MEMORY * available_memory()
        if on_disk:
            expect_random_reads(on_device)
        splits = {name: Split.from_manifest(manifest, name, device) for name in SPLITS}
        return cls(on_device, splits, on_disk)

    def gather(self, rows: Tensor) -> Tensor:
        """Images by their rows.

        Args:
            rows: int64, [n], on the device.

        Returns:
            uint8, [n, H, W, 3].
        """
        if self.on_disk:
            read_ahead(self.images, rows)
        flat = self.images.view(len(self.images), -1).index_select(0, rows)
        return flat.view(-1, *self.images.shape[1:])
