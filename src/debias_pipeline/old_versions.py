"""Find and delete old versions of results."""

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from debias_pipeline.grid import TRAINED_ENTRIES

# The folders of Kedro's layers with results; raw data is not among them.
_LAYERS: Final = "0[2-9]_*"
# Kedro names versions by their time.
_VERSION: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d\.\d\d\.\d\d\.\d{3}Z")
_CHECKPOINT: Final = "checkpoint"


@dataclass(frozen=True)
class OldVersion:
    """A version of a dataset.

    Attributes:
        folder: contains the files of this version only.
        files: its files.
        size: of all files, in bytes.
        linked: bytes of files that have another hard link, such as that of an MLflow model.
    """

    folder: Path
    files: list[Path]
    size: int
    linked: int

    def delete(self) -> None:
        """Delete the folder."""
        # A folder of figures is complete only with this file.
        for file in sorted(self.files, key=lambda each: each.name != "index.json"):
            file.unlink()
        shutil.rmtree(self.folder)


def find_old_versions(root: Path, keep: int) -> list[OldVersion]:
    """Find all versions of results but the newest ones of every dataset.

    What training has saved together with a checkpoint that is kept, is kept, too. Links to other
    folders are not followed.

    Args:
        root: folder of all data, such as data.
        keep: how many versions of a dataset are kept, at least 1.
    """
    versions = {
        file: sorted(found)
        for layer in sorted(root.glob(_LAYERS))
        if not layer.is_symlink()
        for file, found in _versions_below(layer)
    }
    kept = {
        _method_folder(file, root): set(found[-keep:])
        for file, found in versions.items()
        if file.stem == _CHECKPOINT
    }
    old = []
    for file, found in versions.items():
        needed = kept.get(_method_folder(file, root)) if file.stem in TRAINED_ENTRIES else None
        old += [_old(file / each) for each in found[:-keep] if each not in (needed or ())]
    return old


def _versions_below(layer: Path) -> Iterator[tuple[Path, list[str]]]:
    """Yield the path of every versioned dataset and its versions: <path>/<version>/<name>."""
    for folder, names, _ in os.walk(layer):
        path = Path(folder)
        found = [
            name
            for name in names
            if _VERSION.fullmatch(name)
            and not (path / name).is_symlink()
            and (path / name / path.name).exists()
        ]
        if found:
            yield path, found
            names[:] = [name for name in names if name not in found]


def _method_folder(file: Path, root: Path) -> Path:
    """Return the folder of a method in its layer, such as cmnist/2pct/disent."""
    return Path(*file.relative_to(root).parts[1:-1])


def _old(folder: Path) -> OldVersion:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() or path.is_symlink()]
    stats = [path.lstat() for path in files]
    linked = sum(each.st_size for each in stats if each.st_nlink > 1)
    return OldVersion(folder, files, sum(each.st_size for each in stats), linked)
