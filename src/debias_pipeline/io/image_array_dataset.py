"""A dataset of all images as one array in one .npy file."""

import mmap
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any, Final, cast

import numpy as np
import numpy.typing as npt
from kedro.io import DatasetError, Version

from debias_pipeline.errors import one_line
from debias_pipeline.io.file_dataset import FileDataset
from debias_pipeline.io.previews import ImagePreview, contact_sheet
from debias_pipeline.io.storage import LOCAL, cached, default_cache

Images = npt.NDArray[np.uint8]

_CHUNK_BYTES: Final = 16 * 1024**2


class ImageArrayDataset(FileDataset[Images]):
    """One uint8 array, N × H × W × 3, in one .npy file.

    It is loaded as a read-only memory map, which reads pages when they are used, so that images may
    be larger than memory. A memory map needs a local file: a remote file is downloaded to a cache
    folder, and again when it has changed.
    """

    def __init__(
        self,
        filepath: str | Path | PurePosixPath,
        version: Version | None = None,
        credentials: dict[str, Any] | None = None,
        fs_args: dict[str, Any] | None = None,
        cache_dir: str | Path | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        """Set up.

        Args:
            filepath: local path or URL of the .npy file, such as s3://bucket/images.npy.
            version: set by Kedro if the catalog has `versioned: true`.
            credentials: passed to fsspec.
            fs_args: passed to fsspec.
            cache_dir: folder for copies of remote files; by default ~/.cache/debias_pipeline.
            metadata: ignored by Kedro; hooks and plugins may read it.

        Raises:
            UserError: if the library for such URLs is not installed.
        """
        super().__init__(filepath, version, credentials, fs_args, metadata)
        self._cache_dir = Path(cache_dir) if cache_dir else default_cache()

    def load(self) -> Images:
        """Map the images into memory.

        Returns:
            uint8, N × H × W × 3, read-only.

        Raises:
            DatasetError: if the file is missing, truncated, or contains something else.
        """
        place = self._existing("run the ingestion pipeline first")
        path = self._mappable()
        try:
            images = np.load(path, mmap_mode="r", allow_pickle=False)
        except (ValueError, EOFError, OSError) as error:
            raise DatasetError(
                f"{place} is damaged or not an .npy file ({one_line(error)}); delete it and run "
                f"the ingestion pipeline again"
            ) from error
        if problem := _validation_error(images):
            raise DatasetError(f"{place} {problem}; run the ingestion pipeline again")
        return images  # type: ignore[no-any-return]

    def preview(self) -> ImagePreview:
        """Return a contact sheet for Kedro-Viz."""
        return contact_sheet(self.load())

    def save(self, data: Images) -> None:
        """Write the images to a temporary file and rename it on success.

        Images are written in pieces, as a memory map may be larger than memory.

        Args:
            data: uint8, N × H × W × 3, at least one image.

        Raises:
            DatasetError: if `data` is anything else.
        """
        if problem := _validation_error(data):
            raise DatasetError(f"images cannot be saved to {self._filepath}; the array {problem}")
        # The default folder for temporary files may be too small for all images.
        with self._written(scratch=self._cache_dir) as path, path.open("wb") as file:
            _write(file, data)

    def _mappable(self) -> Path:
        path = self._get_load_path()
        if self._protocol == LOCAL:
            return Path(path)
        return cached(self._fs, self._protocol, path, self._cache_dir)


def _write(file: IO[bytes], images: Images) -> None:
    header = {"descr": "|u1", "fortran_order": False, "shape": images.shape}
    np.lib.format.write_array_header_1_0(file, header)
    for piece in _pieces(images):
        file.write(np.ascontiguousarray(piece).data)
        # Release written pages, which would count as memory of this process.
        if isinstance(images, np.memmap) and images.mode != "c" and hasattr(mmap, "MADV_DONTNEED"):
            cast(Any, images)._mmap.madvise(mmap.MADV_DONTNEED)


def _pieces(images: Images) -> Iterator[Images]:
    rows = max(1, _CHUNK_BYTES // images[0].size)
    for start in range(0, len(images), rows):
        yield images[start : start + rows]


def _validation_error(images: object) -> str | None:
    if not isinstance(images, np.ndarray):
        return f"is a {type(images).__name__}, not an array of images"
    if images.dtype != np.uint8:
        return f"has dtype {images.dtype}, not uint8"
    if images.ndim != 4 or images.shape[3] != 3 or images.size == 0:
        shape = " x ".join(str(side) for side in images.shape)
        return f"has shape {shape or '()'}, not N x H x W x 3 with at least one image"
    return None
