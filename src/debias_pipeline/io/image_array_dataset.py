"""A dataset of all images as one array in one .npy file."""

import json
import mmap
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any, Final, cast

import numpy as np
import numpy.typing as npt
from kedro.io import DatasetError, Version
from kedro.io.core import get_filepath_str, get_protocol_and_path

from debias_pipeline.checksum import ImagesChecksum
from debias_pipeline.errors import one_line
from debias_pipeline.io.file_dataset import FileDataset
from debias_pipeline.io.previews import ImagePreview, contact_sheet
from debias_pipeline.io.storage import LOCAL, appearing, cached, default_cache

Images = npt.NDArray[np.uint8]

_CHUNK_BYTES: Final = 16 * 1024**2
_HASH: Final = "images_hash"


class ImageArrayDataset(FileDataset[Images]):
    """One uint8 array, N × H × W × 3, in one .npy file.

    It is loaded as a read-only memory map, which reads pages when they are used, so that images may
    be larger than memory. A memory map needs a local file: a remote file is downloaded to a cache
    folder, and again when it has changed.

    Data sets that differ in labels only share their images, so that a run with one choice of the
    label may replace the images of another choice. With `data_card`, a file of the same name with
    the suffix .json has a checksum of the images, and loading compares it with that in the data
    card, so that labels are never used with other images.
    """

    def __init__(
        self,
        filepath: str | Path | PurePosixPath,
        version: Version | None = None,
        credentials: dict[str, Any] | None = None,
        fs_args: dict[str, Any] | None = None,
        cache_dir: str | Path | None = None,
        metadata: dict[str, Any] | None = None,
        data_card: dict[str, str] | None = None,
    ) -> None:
        """Set up.

        Args:
            filepath: local path or URL of the .npy file, such as s3://bucket/images.npy.
            version: set by Kedro if the catalog has `versioned: true`.
            credentials: passed to fsspec.
            fs_args: passed to fsspec.
            cache_dir: folder for copies of remote files; by default ~/.cache/debias_pipeline.
            metadata: ignored by Kedro; hooks and plugins may read it.
            data_card: `filepath` of the data card whose labels are used with the images, in the
                same file system; None for images without labels.

        Raises:
            UserError: if the library for such URLs is not installed.
        """
        super().__init__(filepath, version, credentials, fs_args, metadata)
        self._cache_dir = Path(cache_dir) if cache_dir else default_cache()
        # A mapping, as Kedro resolves paths below keys of this name against the project.
        self._data_card = get_protocol_and_path(data_card["filepath"])[1] if data_card else None
        self._record = self._filepath.with_suffix(".json")

    def load(self) -> Images:
        """Map the images into memory.

        Returns:
            uint8, N × H × W × 3, read-only.

        Raises:
            DatasetError: if the file is missing, truncated, or contains something else, or if the
                data card belongs to other images.
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
        # The checksum is saved before the images, and read after them.
        if self.has_other_labels():
            raise DatasetError(
                f"{place} does not have the images that {self._data_card} is about, as another run "
                "has replaced them; run the ingestion pipeline again"
            )
        return images  # type: ignore[no-any-return]

    def has_other_labels(self) -> bool:
        """Return whether the data card belongs to other images; False if it is not known.

        It is not known if the images or the data card were saved by an earlier version.
        """
        if not self._data_card:
            return False
        of_card, of_images = self._hash_in(self._data_card), self._hash_in(str(self._record))
        return None not in (of_card, of_images) and of_card != of_images

    def _hash_in(self, path: str) -> Any:
        """Return the hash in a JSON file, or None if there is none."""
        try:
            content = json.loads(
                self._fs.cat_file(get_filepath_str(PurePosixPath(path), self._protocol))
            )
        except (OSError, ValueError):
            return None
        return content.get(_HASH) if isinstance(content, dict) else None

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
        with self._written(scratch=self._cache_dir) as path:
            with path.open("wb") as file:
                checksum = _write(file, data)
            if self._data_card:
                with appearing(self._fs, self._protocol, self._record) as record:
                    record.write_text(json.dumps({_HASH: checksum}))

    def _mappable(self) -> Path:
        path = self._get_load_path()
        if self._protocol == LOCAL:
            return Path(path)
        return cached(self._fs, self._protocol, path, self._cache_dir)


def _write(file: IO[bytes], images: Images) -> str:
    """Write images to a file and return their checksum."""
    checksum = ImagesChecksum(images.shape)
    header = {"descr": "|u1", "fortran_order": False, "shape": images.shape}
    np.lib.format.write_array_header_1_0(file, header)
    for piece in _pieces(images):
        file.write(checksum.add(piece))
        # Release written pages, which would count as memory of this process.
        if isinstance(images, np.memmap) and images.mode != "c" and hasattr(mmap, "MADV_DONTNEED"):
            cast(Any, images)._mmap.madvise(mmap.MADV_DONTNEED)
    return str(checksum)


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
