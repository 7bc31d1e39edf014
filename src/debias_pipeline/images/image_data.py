"""The images of a biased data set, on the device if it can hold them, and their splits."""

import logging
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from debias_pipeline.errors import UserError
from debias_pipeline.images.memory import ReadAhead, available_memory, free_device_memory
from debias_pipeline.names import SPLITS

logger = logging.getLogger(__name__)

# Images may take this fraction of the available memory. Networks and the tensors of a step need
# the rest.
LARGEST_FRACTION_OF_MEMORY = 0.75


def conflict_codes(conflicting: "pd.Series[bool]") -> npt.NDArray[np.int8]:
    """Return a nullable boolean column as 1 (bias-conflicting), 0 (aligned) or −1 (unknown)."""
    return np.asarray(conflicting.astype("Int8").fillna(-1), dtype=np.int8)


@dataclass(frozen=True)
class Split:
    """The images of one split.

    Attributes:
        image_ids: int64, [n].
        rows: int64, [n], positions of the images in `ImageData.images`, on the device of these.
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
        cls,
        manifest: pd.DataFrame,
        name: str,
        device: torch.device | None = None,
        attribute: str = "",
    ) -> "Split":
        """Read one split of a manifest, with `rows` on a device.

        `bias` and `conflicting` are those of a bias attribute; by default of the one that is
        treated as the bias.

        Raises:
            UserError: if the split has no image.
        """
        rows = np.flatnonzero((manifest["split"] == name).to_numpy())
        if len(rows) == 0:
            raise UserError(
                f"the manifest has no image in the {name} split; make the data again with "
                "kedro run --pipeline=ingestion"
            )
        part = manifest.iloc[rows]
        of_attribute = f"_{attribute}" if attribute else ""
        return cls(
            image_ids=part["image_id"].to_numpy(np.int64),
            rows=torch.from_numpy(rows).to(device),
            labels=part["label"].to_numpy(np.int64),
            bias=part[f"bias{of_attribute}"].to_numpy(np.int64),
            conflicting=conflict_codes(part[f"conflicting{of_attribute}"]),
        )


@dataclass(frozen=True)
class ImageData:
    """Images and splits of a biased data set.

    Attributes:
        images: uint8, [N, H, W, 3], on the device that computes if it can hold them, else on the
            CPU. There this is the catalog's memory map, not a copy.
        splits: train, valid and, unless it must not be read, test.
        read_ahead: given if memory cannot hold all images, so that they are read from the memory
            map each time they are needed.
        copied_to: the device that computes, given if it cannot hold all images, so that they are
            copied to it each time they are needed.
    """

    images: Tensor
    splits: Mapping[str, Split]
    read_ahead: ReadAhead | None = None
    copied_to: torch.device | None = None

    @property
    def device(self) -> torch.device:
        """Return the device that computes."""
        return self.copied_to or self.images.device

    @property
    def gathers_ahead(self) -> bool:
        """Return whether a thread should gather the next training batches in advance.

        This is faster if images are read from disk or copied to the device when they are needed.
        """
        return self.read_ahead is not None or self.copied_to is not None

    @classmethod
    def from_catalog(
        cls,
        images: npt.NDArray[np.uint8],
        manifest: pd.DataFrame,
        device: torch.device,
        splits: Iterable[str] = SPLITS,
    ) -> "ImageData":
        """Put `images` and `manifest` of the catalog on a device.

        Args:
            images: uint8, N × H × W × 3.
            manifest: row i describes images[i].
            device: computes, and holds the images if it has enough memory.
            splits: those of the manifest that are used.

        Raises:
            UserError: if images and manifest do not belong together or a split is empty.
        """
        if len(images) != len(manifest):
            raise UserError(
                f"there are {len(images)} images but {len(manifest)} rows in the manifest; "
                "make both again with kedro run --pipeline=ingestion"
            )
        with warnings.catch_warnings():
            # The memory map is read-only, and nothing writes to the tensor.
            warnings.filterwarnings("ignore", "The given NumPy array is not writable")
            tensor = torch.from_numpy(images)
        copied_to = None
        if device.type != "cpu":
            if images.nbytes <= LARGEST_FRACTION_OF_MEMORY * free_device_memory(device):
                tensor = tensor.to(device)
            else:
                copied_to = device
                _log_copying(images.nbytes, device)
        chosen = {name: Split.from_manifest(manifest, name, tensor.device) for name in splits}
        fits = images.nbytes <= LARGEST_FRACTION_OF_MEMORY * available_memory()
        on_disk = tensor.device.type == "cpu" and not fits
        return cls(tensor, chosen, ReadAhead(images) if on_disk else None, copied_to)

    def gather(self, rows: Tensor) -> Tensor:
        """Return images by their rows.

        Args:
            rows: int64, [n], on any device.

        Returns:
            uint8, [n, H, W, 3], on the device that computes.
        """
        if rows.device != self.images.device:  # not in training, as the copy waits for a GPU
            rows = rows.to(self.images.device)
        if self.read_ahead is not None:
            self.read_ahead.request(rows)
        flat = self.images.view(len(self.images), -1)
        if self.copied_to is None:
            gathered = flat.index_select(0, rows)
        else:
            # From pinned memory, CUDA copies without blocking the CPU. PyTorch does not use this
            # memory again before the copy has ended.
            is_pinned = self.copied_to.type == "cuda"
            shape = len(rows), flat.shape[1]
            buffer = torch.empty(shape, dtype=torch.uint8, pin_memory=is_pinned)
            torch.index_select(flat, 0, rows, out=buffer)
            gathered = buffer.to(self.copied_to, non_blocking=is_pinned)
        return gathered.view(-1, *self.images.shape[1:])


@cache
def _log_copying(n_bytes: int, device: torch.device) -> None:
    """Log once per process that images of this size are copied to a device batch by batch."""
    logger.info(
        "The images take %.1f GB, more than %.0f %% of the %.1f GB of free memory of %s; they are "
        "copied to it batch by batch",
        n_bytes / 1e9,
        100 * LARGEST_FRACTION_OF_MEMORY,
        free_device_memory(device) / 1e9,
        device,
    )
