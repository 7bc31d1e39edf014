"""Compute hashes of raw files and of finished data sets, to detect that data changed."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from debias_pipeline.checksum import ImagesChecksum

if TYPE_CHECKING:
    import pandas as pd

# Columns of the manifest and the types of their bytes, the same on every machine.
_HASHED_COLUMNS: Final = {
    "image_id": "<i8",
    "label": "<i2",
    "bias": "<i2",
}
_CHUNK_BYTES: Final = 16 * 1024**2


class ContentHashes(NamedTuple):
    """Hashes of a data set, the same on every machine.

    Attributes:
        content: of the images, splits, labels and bias labels.
        images: checksum of the images alone, see `ImagesChecksum`.
    """

    content: str
    images: str


def content_hashes(
    images: npt.NDArray[np.uint8], manifest: "pd.DataFrame", label_names: Sequence[str]
) -> ContentHashes:
    """Return the hashes of a data set; 100 MB of pixels take about 0.25 s.

    Args:
        images: uint8, N × H × W × 3.
        manifest: as `manifest.Manifest`; `source` and the columns of a user's table are ignored.
    """
    digest = hashlib.sha256(json.dumps([*images.shape, *label_names]).encode())
    # A user's table may have columns of such names, but of other types.
    attributes = manifest.filter(regex="^bias_").select_dtypes("int16")
    for name, kind in (_HASHED_COLUMNS | dict.fromkeys(attributes, "<i2")).items():
        digest.update(manifest[name].to_numpy().astype(kind).tobytes())
    digest.update("\0".join(manifest["split"]).encode())
    conflicting = manifest["conflicting"].astype("Int8").fillna(-1)
    digest.update(conflicting.to_numpy().astype("i1").tobytes())
    checksum = ImagesChecksum(images.shape)
    rows = max(1, _CHUNK_BYTES // images[0].size)
    for start in range(0, len(images), rows):
        digest.update(checksum.add(images[start : start + rows]))
    return ContentHashes(digest.hexdigest(), str(checksum))


def files_hash(
    files: Iterable[tuple[str, Path]], *, times: bool, content: bytes = b""
) -> str | None:
    """Return a hash of the names and sizes of files, without opening them; None for no files.

    Args:
        files: pairs of a name, such as the path relative to raw_dir, and the file, which may be
            missing.
        times: whether to include modification times.
        content: additional bytes to include, such as the table that lists the files.
    """
    lines = []
    for name, path in files:
        try:
            state = path.stat()
        except OSError:
            lines.append(f"{name}\0missing")
        else:
            lines.append(f"{name}\0{state.st_size}\0{state.st_mtime_ns if times else ''}")
    if not lines:
        return None
    text = "\n".join(sorted(lines)).encode("utf-8", "surrogateescape")
    return hashlib.sha256(text + b"\0\0" + content).hexdigest()
