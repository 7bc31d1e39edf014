"""All images of a set as one array on disk."""

import mmap
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any, Final, cast

import numpy as np
import numpy.typing as npt
from kedro.io import AbstractDataset, DatasetError

from debias_pipeline.io.atomic import replacing

Images = npt.NDArray[np.uint8]

_CHUNK_BYTES: Final = 16 * 1024**2


class ImageArrayDataset(AbstractDataset[Images, Images]):
    """One uint8 array, N × H × W × 3, in one .npy file on a local disk.

    It is loaded as a read-only memory map: a page is read when it is first touched, and a set
    larger than memory can be trained on. A memory map needs a local file, so no remote paths.
    """

    def __init__(
        self, filepath: str | Path | PurePosixPath, metadata: dict[str, Any] | None = None
    ) -> None:
        """Point to a file.

        Args:
            filepath: of the .npy file; local.
            metadata: for plugins; not looked at.

        Raises:
            DatasetError: if the path is not local.
        """
        if "://" in str(filepath):
            raise DatasetError(
                f"ImageArrayDataset maps its file into memory: give a local path, not {filepath}."
            )
        self._filepath = PurePosixPath(Path(filepath).as_posix())
        self.metadata = metadata

    def load(self) -> Images:
        """Map the images into memory.

        Returns:
            uint8, N × H × W × 3, read-only.

        Raises:
            DatasetError: if the file is missing, truncated, or holds something else.
        """
        path = Path(self._filepath)
        if not path.is_file():
            raise DatasetError(f"{path} does not exist: run the ingestion pipeline first.")
        try:
            images = np.load(path, mmap_mode="r", allow_pickle=False)
        except (ValueError, EOFError, OSError) as error:
            raise DatasetError(
                f"{path} is damaged or no .npy file ({_one_line(error)}): delete it and run the "
                f"ingestion pipeline again."
            ) from error
        if complaint := _complaint(images):
            raise DatasetError(f"{path} {complaint}: run the ingestion pipeline again.")
        return images  # type: ignore[no-any-return]

    def save(self, data: Images) -> None:
        """Write the images; the file appears whole or not at all.

        A memory map, such as one of a set larger than memory, is copied piece by piece.

        Args:
            data: uint8, N × H × W × 3, at least one image.

        Raises:
            DatasetError: if it is anything else.
        """
        path = Path(self._filepath)
        if complaint := _complaint(data):
            raise DatasetError(f"Not saved to {path}: the array {complaint}.")
        with replacing(path) as temporary, temporary.open("wb") as file:
            _write(file, data)

    def _exists(self) -> bool:
        return Path(self._filepath).is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._filepath}


def _write(file: IO[bytes], images: Images) -> None:
    header = {"descr": "|u1", "fortran_order": False, "shape": images.shape}
    np.lib.format.write_array_header_1_0(file, header)
    for piece in _pieces(images):
        file.write(np.ascontiguousarray(piece).data)
        # Otherwise pages already copied would count as memory of this process to the end.
        if isinstance(images, np.memmap) and images.mode != "c" and hasattr(mmap, "MADV_DONTNEED"):
            cast(Any, images)._mmap.madvise(mmap.MADV_DONTNEED)


def _pieces(images: Images) -> Iterator[Images]:
    rows = max(1, _CHUNK_BYTES // images[0].size)
    for start in range(0, len(images), rows):
        yield images[start : start + rows]


def _complaint(images: object) -> str | None:
    if not isinstance(images, np.ndarray):
        return f"is a {type(images).__name__}, not an array of images"
    if images.dtype != np.uint8:
        return f"is {images.dtype} where images are uint8"
    if images.ndim != 4 or images.shape[3] != 3 or images.size == 0:
        shape = " x ".join(str(side) for side in images.shape)
        return f"is {shape or 'a scalar'} where images are N x H x W x 3, none of them 0"
    return None


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
