"""CIFAR-10, in whichever form it lies among raw data.

Its original files are Python pickles, which run whatever code they hold. They are therefore loaded
by torchvision and only after all of them have the checksums that torchvision knows, so that nothing
but the published bytes is ever unpickled. The binary version would need no such care, but it is not
what torchvision downloads and what people have.
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

from debias_pipeline.biased_data.archives import archive_stem, archives_in, extracted
from debias_pipeline.biased_data.decoding import decode_images
from debias_pipeline.biased_data.image_files import children, problems_error
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
_SPLITS: Final = ("train", "test")
# cifar10_jpeg or cifar-10-python, but neither cifar100 nor cifar10c nor CIFAR-10-C.
_ARCHIVE_NAME: Final = re.compile(
    r"cifar[-_ ]?10(?![0-9])(?![-_ ]?c(?![a-z]))(?!.*binary).*", re.IGNORECASE
)


@dataclass(frozen=True)
class LabelledImages:
    """One half of CIFAR-10.

    Attributes:
        images: uint8, N × 32 × 32 × 3, RGB.
        label: int16, N, index into `CLASS_NAMES`.
        source: N places to find them again, relative.
    """

    images: npt.NDArray[np.uint8]
    label: npt.NDArray[np.int16]
    source: Sequence[str]


@dataclass(frozen=True)
class Cifar10:
    """CIFAR-10.

    Attributes:
        train: 50,000 images, unless class folders hold fewer.
        test: 10,000 likewise.
        origin: a few words on the form it was found in, without paths.
    """

    train: LabelledImages
    test: LabelledImages
    origin: str


def read_cifar10(raw_dir: Path) -> Cifar10:
    """Read CIFAR-10 from the first of these that `raw_dir` holds, else download it there.

    1. cifar-10-batches-py/, the files of torchvision;
    2. class folders, train/<class>/*.jpg or *.png and test/<class>/…;
    3. an archive of either. It is told by its name (cifar10…, cifar-10-…), or by being the only
       archive there.

    Args:
        raw_dir: what torchvision calls the root.

    Raises:
        UserError: if anything is wrong with any file, several archives could be it, or it is
            missing and not to be had from the network.
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
        folders = [raw_dir / split for split in _SPLITS if (raw_dir / split).is_dir()]
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    if not files and (archive := _find_archive(raw_dir)):
        files = [archive]
    return [(path.relative_to(raw_dir).as_posix(), path) for path in files]


def _read_folder(folder: Path, where: Path) -> Cifar10 | None:
    """Read files or class folders; `where` is what people call the folder."""
    if (folder / BATCHES).is_dir():
        return _read_batches(folder, where)
    if any((folder / split).is_dir() for split in _SPLITS):
        return _read_class_folders(folder, where)
    return None


def _find_archive(raw_dir: Path) -> Path | None:
    present = archives_in(raw_dir)
    named = [path for path in present if _is_named_after_cifar10(path)]
    candidates = named or present
    if len(named) > 1:
        raise UserError(
            f"{raw_dir} holds several archives that may be CIFAR-10: "
            f"{', '.join(path.name for path in named)}. Leave one of them there, or unpack it."
        )
    return candidates[0] if len(candidates) == 1 else None


def _is_named_after_cifar10(archive: Path) -> bool:
    return bool(_ARCHIVE_NAME.fullmatch(archive_stem(archive)))


def _read_archive(raw_dir: Path) -> Cifar10 | None:
    archive = _find_archive(raw_dir)
    if archive is None:
        return None
    with extracted(archive, _is_of_cifar10) as folder:
        inner = list(folder.iterdir())
        # Many archives hold a single folder that holds all else.
        is_wrapped = len(inner) == 1 and inner[0].name not in (BATCHES, *_SPLITS)
        root = inner[0] if is_wrapped and inner[0].is_dir() else folder
        inside = Path(archive.name, root.relative_to(folder)).as_posix()
        found = _read_folder(root, where=archive)
    if found:
        return _placed(inside, found)
    if _is_named_after_cifar10(archive):
        raise UserError(
            f"{archive} does not hold CIFAR-10: neither {BATCHES}/ nor train/<class>/ and "
            f"test/<class>/ with images; put another there or remove it."
        )
    return None


def _is_of_cifar10(place: PurePosixPath) -> bool:
    return any(part in (BATCHES, *_SPLITS) for part in place.parts)


def _placed(inside: str, found: Cifar10) -> Cifar10:
    train, test = (
        replace(half, source=[f"{inside}/{place}" for place in half.source])
        for half in (found.train, found.test)
    )
    return Cifar10(train, test, f"{found.origin} in {inside}")


def _read_batches(root: Path, where: Path) -> Cifar10:
    from torchvision.datasets import CIFAR10  # takes seconds to import, and is needed only here
    from torchvision.datasets.utils import check_integrity

    files = [*CIFAR10.train_list, *CIFAR10.test_list]
    files.append([CIFAR10.meta["filename"], CIFAR10.meta["md5"]])
    wrong = [name for name, md5 in files if not check_integrity(root / BATCHES / name, md5)]
    if wrong:
        raise UserError(
            f"{BATCHES} in {where} is not CIFAR-10 as published: {', '.join(wrong)} missing or "
            f"changed. Nothing was loaded from it, as these files can run code; put a whole copy "
            f"there, or delete it and run again to download it."
        )
    train, test = (_load_batches(root, is_train) for is_train in (True, False))
    return Cifar10(train, test, origin="torchvision's files")


def _load_batches(root: Path, is_train: bool) -> LabelledImages:
    from torchvision.datasets import CIFAR10

    loaded = CIFAR10(root, train=is_train)  # checks the files once more
    files = [name for name, _ in (CIFAR10.train_list if is_train else CIFAR10.test_list)]
    per_file = len(loaded.data) // len(files)
    return LabelledImages(
        images=loaded.data,
        label=np.array(loaded.targets, np.int16),
        source=[f"{BATCHES}/{file}#{row}" for file in files for row in range(per_file)],
    )


def _read_class_folders(root: Path, where: Path) -> Cifar10:
    problems: list[str] = []
    train, test = (_read_half(root, split, problems) for split in _SPLITS)
    if problems:
        raise problems_error(
            where,
            problems,
            f"Repair or remove what is named: train/ and test/ each hold the ten class folders "
            f"{', '.join(CLASS_NAMES)}, and each of these images of 32x32.",
        )
    return Cifar10(train, test, origin="class folders of images")


def _read_half(root: Path, split: str, problems: list[str]) -> LabelledImages:
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
    images = decode_images(paths, source, problems, _SIZE)
    return LabelledImages(images, np.array(label, np.int16), source)


def _is_image(path: Path, place: str, problems: list[str]) -> bool:
    if path.suffix.lower() not in _SUFFIXES or not path.is_file():
        problems.append(f"{place}: is no .jpg or .png file")
        return False
    return True


def _download(raw_dir: Path) -> None:
    from torchvision.datasets import CIFAR10

    try:
        raw_dir.mkdir(parents=True, exist_ok=True)
        # The folder is moved into place at the end, so that a broken download leaves nothing.
        with tempfile.TemporaryDirectory(dir=raw_dir, prefix=".cifar10-") as scratch:
            CIFAR10(scratch, download=True)
            (Path(scratch) / BATCHES).replace(raw_dir / BATCHES)
    except (RuntimeError, OSError, HTTPException) as error:
        raise UserError(
            f"CIFAR-10 is not in {raw_dir} and could not be downloaded. Put {BATCHES} there, or "
            f"class folders train/<class>/ and test/<class>/ of images, or an archive of either, "
            f"or pass raw_dir=… with the folder that holds one of these, or use "
            f"dataset=cmnist_mini, which needs no files. Reason: {error}"
        ) from error
