"""A small CIFAR-10 in every form it comes in."""

import hashlib
import pickle
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import CIFAR10

from debias_pipeline.biased_data.sources.cifar10 import BATCHES, CLASS_NAMES

TRAIN_PER_CLASS = 20
TEST_PER_CLASS = 5


def image(split: str, label: int, number: int) -> np.ndarray:
    generator = np.random.default_rng((len(split), label, number))
    levels = generator.integers(60, 190, 3) + generator.integers(-40, 40, (32, 32, 1))
    return levels.astype(np.uint8)


def halves() -> list[tuple[str, int]]:
    return [("train", TRAIN_PER_CLASS), ("test", TEST_PER_CLASS)]


def write_class_folders(root: Path) -> Path:
    for split, per_class in halves():
        for label, name in enumerate(CLASS_NAMES):
            folder = root / split / name
            folder.mkdir(parents=True)
            for number in range(per_class):
                Image.fromarray(image(split, label, number)).save(folder / f"{number:04}.png")
    return root


def write_batches(root: Path, patch: pytest.MonkeyPatch) -> Path:
    """Write torchvision's files, and let torchvision take them for the published ones."""
    folder = root / BATCHES
    folder.mkdir(parents=True)
    for attribute, split, n_files in (("train_list", "train", 5), ("test_list", "test", 1)):
        files = [name for name, _ in getattr(CIFAR10, attribute)]
        per_class = dict(halves())[split] // n_files
        for which, name in enumerate(files):
            numbers = range(which * per_class, (which + 1) * per_class)
            pairs = [(label, number) for number in numbers for label in range(10)]
            rows = [image(split, *pair).transpose(2, 0, 1).ravel() for pair in pairs]
            labels = [label for label, _ in pairs]
            (folder / name).write_bytes(pickle.dumps({"data": np.stack(rows), "labels": labels}))
        patch.setattr(CIFAR10, attribute, [[name, md5(folder / name)] for name in files])
    meta = folder / CIFAR10.meta["filename"]
    meta.write_bytes(pickle.dumps({"label_names": list(CLASS_NAMES)}))
    patch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": md5(meta)})
    return root


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def pack(folder: Path, archive: Path, within: str = "") -> None:
    """Pack what a folder holds into a .zip or .tar(.gz, .xz)."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    names = [(Path(within) / path.relative_to(folder)).as_posix() for path in files]
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive, "w") as pack:
            for path, name in zip(files, names, strict=True):
                pack.write(path, name)
        return
    compression = {".gz": "gz", ".xz": "xz"}.get(archive.suffix, "")
    with tarfile.open(archive, f"w:{compression}") as tar:
        for path, name in zip(files, names, strict=True):
            tar.add(path, name)
