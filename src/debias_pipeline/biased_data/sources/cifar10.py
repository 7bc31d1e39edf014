"""Read CIFAR-10 from its original files, class folders or an archive.

The original files are Python pickles, which can run code. They are loaded only if all of them have
the checksums that torchvision knows, so only the published bytes are unpickled.
"""

import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from typing import Final

import numpy as np
import numpy.typing as npt

from debias_pipeline.biased_data.sources.archives import archive_stem, archives_in, extracted
from debias_pipeline.biased_data.sources.decoding import decode_images
from debias_pipeline.biased_data.sources.raw_dir import children, problems_error
from debias_pipeline.errors import UserError

CLASS_NAMES: Final = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
BATCHES: Final = "cifar-10-batches-py"

_SIZE: Final = (32, 32)
_SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png"})
_HALVES: Final = ("train", "test")
# Such as cifar10_jpeg or cifar-10-python, but not cifar100, cifar10c or CIFAR-10-C.
_ARCHIVE_NAME: Final = re.compile(
    r"cifar[-_ ]?10(?![0-9])(?![-_ ]?c(?![a-z]))(?!.*binary).*", re.IGNORECASE
)


@dataclass(frozen=True)
class LabelledImages:
    """The training or the test images of CIFAR-10.

    Attributes:
        images: uint8, N × 32 × 32 × 3, RGB.
        label: int16, N, index into `CLASS_NAMES`.
        source: N, where each image comes from, relative.
    """

    images: npt.NDArray[np.uint8]
    label: npt.NDArray[np.int16]
    source: Sequence[str]


@dataclass(frozen=True)
class Cifar10:
    """CIFAR-10: 50,000 training and 10,000 test images, or fewer if class folders have fewer.

    Attributes:
        origin: the form in which it was found, for people; without absolute paths.
    """

    train: LabelledImages
    test: LabelledImages
    origin: str


def read_cifar10(raw_dir: Path) -> Cifar10:
    """Read CIFAR-10 from the first of these found in `raw_dir`, else download it there.

    1. cifar-10-batches-py/, the files of torchvision;
    2. class folders, train/<class>/*.jpg or *.png and test/<class>/…;
    3. an archive of either, named cifar10… or cifar-10-…, or the only archive there.

    Raises:
        UserError: if anything is wrong with a file, several archives match, or the data is missing
            and cannot be downloaded.
    """
    found = _read_folder(raw_dir, where=raw_dir) or _read_archive(raw_dir)
    if found:
        return found
    _download(raw_dir)
    return _read_batches(raw_dir, where=raw_dir)


def cifar10_files(raw_dir: Path) -> list[tuple[str, Path]]:
    """Return name, relative to `raw_dir`, and path of each file that `read_cifar10` reads."""
    folders = [raw_dir / BATCHES]
    if not folders[0].is_dir():
        folders = [raw_dir / split for split in _HALVES if (raw_dir / split).is_dir()]
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    if not files and (archive := _find_archive(raw_dir)):
        files = [archive]
    return [(path.relative_to(raw_dir).as_posix(), path) for path in files]


def _read_folder(folder: Path, where: Path) -> Cifar10 | None:
    """Read original files or class folders; `where` is the folder or archive, for messages."""
    if (folder / BATCHES).is_dir():
        return _read_batches(folder, where)
    if any((folder / split).is_dir() for split in _HALVES):
        return _read_class_folders(folder, where)
    return None


def _find_archive(raw_dir: Path) -> Path | None:
    present = archives_in(raw_dir)
    named = [path for path in present if _is_named_after_cifar10(path)]
    candidates = named or present
    if len(named) > 1:
        raise UserError(
            f"{raw_dir} has several archives that may be CIFAR-10 "
            f"({', '.join(path.name for path in named)}); keep one of them, or unpack it."
        )
    return candidates[0] if len(candidates) == 1 else None


def _is_named_after_cifar10(archive: Path) -> bool:
    return bool(_ARCHIVE_NAME.fullmatch(archive_stem(archive)))


def _read_archive(raw_dir: Path) -> Cifar10 | None:
    archive = _find_archive(raw_dir)
    if archive is None:
        return None
    with extracted(archive, _is_cifar10_file) as folder:
        inner = list(folder.iterdir())
        # Many archives have a single folder at the top.
        is_wrapped = len(inner) == 1 and inner[0].name not in (BATCHES, *_HALVES)
        root = inner[0] if is_wrapped and inner[0].is_dir() else folder
        inside = Path(archive.name, root.relative_to(folder)).as_posix()
        found = _read_folder(root, where=archive)
    if found:
        return _with_prefix(inside, found)
    if _is_named_after_cifar10(archive):
        raise UserError(
            f"{archive} does not contain CIFAR-10, neither {BATCHES}/ nor train/<class>/ and "
            f"test/<class>/ with images; replace or remove it."
        )
    return None


def _is_cifar10_file(place: PurePosixPath) -> bool:
    return any(part in (BATCHES, *_HALVES) for part in place.parts)


def _with_prefix(inside: str, found: Cifar10) -> Cifar10:
    train, test = (
        replace(half, source=[f"{inside}/{place}" for place in half.source])
        for half in (found.train, found.test)
    )
    return Cifar10(train, test, f"{found.origin} in {inside}")


def _read_batches(root: Path, where: Path) -> Cifar10:
    from torchvision.datasets import CIFAR10  # takes seconds to import
    from torchvision.datasets.utils import check_integrity

    files = [*CIFAR10.train_list, *CIFAR10.test_list]
    files.append([CIFAR10.meta["filename"], CIFAR10.meta["md5"]])
    wrong = [name for name, md5 in files if not check_integrity(root / BATCHES / name, md5)]
    if wrong:
        raise UserError(
            f"{BATCHES} in {where} is not the published CIFAR-10, {', '.join(wrong)} missing or "
            f"changed (nothing was loaded, since these files can run code); replace it with a "
            f"complete copy, or delete it and run again to download it."
        )
    train, test = (_load_batches(root, is_train) for is_train in (True, False))
    return Cifar10(train, test, origin="torchvision's files")


def _load_batches(root: Path, is_train: bool) -> LabelledImages:
    from torchvision.datasets import CIFAR10

    loaded = CIFAR10(root, train=is_train)  # checks the files again
    files = [name for name, _ in (CIFAR10.train_list if is_train else CIFAR10.test_list)]
    per_file = len(loaded.data) // len(files)
    return LabelledImages(
        images=loaded.data,
        label=np.array(loaded.targets, np.int16),
        source=[f"{BATCHES}/{file}#{row}" for file in files for row in range(per_file)],
    )


def _read_class_folders(root: Path, where: Path) -> Cifar10:
    problems: list[str] = []
    train, test = (_read_half(root, split, where, problems) for split in _HALVES)
    if problems:
        raise problems_error(
            where,
            problems,
            f"Repair or remove these. train/ and test/ need the ten class folders "
            f"{', '.join(CLASS_NAMES)} with images of 32x32.",
        )
    return Cifar10(train, test, origin="class folders of images")


def _read_half(root: Path, split: str, where: Path, problems: list[str]) -> LabelledImages:
    def place(path: Path) -> str:
        return path.relative_to(root).as_posix()

    for folder in children(root / split, root, place, problems):
        if folder.name not in CLASS_NAMES:
            problems.append(f"{place(folder)}: is not one of the ten class folders")
    paths: list[Path] = []
    label: list[int] = []
    for number, name in enumerate(CLASS_NAMES):
        inner = [
            path
            for path in children(root / split / name, root, place, problems)
            if _is_image(path, place(path), problems)
        ]
        if not inner:
            problems.append(f"{split}/{name}: no images")
        paths += inner
        label += [number] * len(inner)
    source = [place(path) for path in paths]
    bad: dict[int, str] = {}
    images = decode_images(paths, bad, _SIZE, name=f"cifar10-{split}", source=where)
    problems += [f"{source[row]}: {reason}" for row, reason in bad.items()]
    return LabelledImages(images, np.array(label, np.int16), source)


def _is_image(path: Path, place: str, problems: list[str]) -> bool:
    if path.suffix.lower() not in _SUFFIXES or not path.is_file():
        problems.append(f"{place}: is not a .jpg or .png file")
        return False
    return True


def _download(raw_dir: Path) -> None:
    from torchvision.datasets import CIFAR10

    try:
        raw_dir.mkdir(parents=True, exist_ok=True)
        # The folder is moved at the end, so that a failed download leaves nothing.
        with tempfile.TemporaryDirectory(dir=raw_dir, prefix=".cifar10-") as scratch:
            CIFAR10(scratch, download=True)
            (Path(scratch) / BATCHES).replace(raw_dir / BATCHES)
    except (RuntimeError, OSError, HTTPException) as error:
        raise UserError(
            f"CIFAR-10 is not in {raw_dir} and could not be downloaded ({error}); put {BATCHES} "
            f"there, or class folders train/<class>/ and test/<class>/ of images, or an archive of "
            f"either, or set raw_dir=… to a folder that contains one of these, or use "
            f"dataset=cmnist_mini, which needs no files."
        ) from error
