"""Download the archive of a published data set."""

import tempfile
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import Final

from tqdm import tqdm

from debias_pipeline.errors import UserError, one_line

_TIMEOUT: Final = 30  # seconds without any data
_CHUNK_BYTES: Final = 1024**2


def download(url: str, path: Path, remedy: str) -> None:
    """Download a file; it is moved to `path` when it is complete.

    No checksums of these files are published; only the length that the server declares is checked.

    Args:
        url: address of the file.
        path: the folder is created if necessary.
        remedy: what to do if the download fails.

    Raises:
        UserError: if it fails; nothing remains at `path`.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".download-") as scratch:
            part = Path(scratch) / path.name
            _fetch(url, part)
            part.replace(path)
    except (OSError, HTTPException) as error:
        raise UserError(
            f"{path.name} is not in {path.parent} and could not be downloaded from {url} "
            f"({one_line(error)}); {remedy}"
        ) from error


def _fetch(url: str, path: Path) -> None:
    with urllib.request.urlopen(url, timeout=_TIMEOUT) as answer, path.open("wb") as file:
        length = int(answer.headers.get("Content-Length") or 0)
        with tqdm(total=length or None, desc=path.name, unit="B", unit_scale=True) as bar:
            while piece := answer.read(_CHUNK_BYTES):
                file.write(piece)
                bar.update(len(piece))
        if length and file.tell() != length:
            raise OSError(f"the connection ended after {file.tell():,} of {length:,} bytes")
