"""What a user's own folder of images holds, from its class folders."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from debias_pipeline.biased_data.decoding import IMAGE_SUFFIXES
from debias_pipeline.biased_data.image_files import children
from debias_pipeline.biased_data.listing import SPLIT_NAMES, Listing
from debias_pipeline.errors import UserError

logger = logging.getLogger(__name__)

# Of files passed over, those that the warning names.
_SHOWN: Final = 5


def list_class_folders(raw_dir: Path) -> Listing:
    """List the images in <class>/…, or in <split>/<class>/….

    Args:
        raw_dir: holds the folders; what lies beside them is passed over with a warning.

    Raises:
        UserError: if there are no class folders.
    """
    problems: list[str] = []
    passed_over: list[str] = []

    def place(path: Path) -> str:
        return path.relative_to(raw_dir).as_posix()

    def visible(folder: Path) -> list[Path]:
        return list(children(folder, raw_dir, place, problems))

    found: list[tuple[Path, str, str]] = []
    for split, folder in _split_folders(raw_dir, visible, place, problems):
        for path in visible(folder):
            if not path.is_dir():
                passed_over.append(place(path))
                continue
            images = list(_images(path, visible, place, problems, passed_over))
            if not images:
                problems.append(f"{place(path)}: no images")
            found += [(image, path.name, split) for image in images]
    if passed_over:
        logger.warning(
            "Passed over %s files in %s that no class folder holds or that are no images by "
            "name: %s%s",
            f"{len(passed_over):,}",
            raw_dir,
            ", ".join(passed_over[:_SHOWN]),
            ", …" if len(passed_over) > _SHOWN else "",
        )
    if not found and not problems:
        raise UserError(
            f"{raw_dir} holds neither a table nor class folders: put a .csv or .parquet table of "
            f"path and label there, or a folder of images per class (archives: unpack them)."
        )
    source = [place(path) for path, _, _ in found]
    return Listing(
        where=raw_dir,
        is_table=False,
        rows=source,
        path=[path for path, _, _ in found],
        source=source,
        label=[label for _, label, _ in found],
        bias=[""] * len(found),
        split=[split for _, _, split in found],
        extra=None,
        problems=list(dict.fromkeys(problems)),  # some folders are looked into twice
    )


def _split_folders(
    raw_dir: Path,
    visible: Callable[[Path], list[Path]],
    place: Callable[[Path], str],
    problems: list[str],
) -> list[tuple[str, Path]]:
    """Tell whether the top folders are splits or classes: a class may be called train, too."""
    tops = [path for path in visible(raw_dir) if path.is_dir()]
    splits = [(SPLIT_NAMES[path.name], path) for path in tops if path.name in SPLIT_NAMES]
    if not any(inner.is_dir() for _, path in splits for inner in visible(path)):
        return [("", raw_dir)]
    problems.extend(
        f"{place(path)}: is neither train, valid nor test, as other folders are"
        for path in tops
        if path.name not in SPLIT_NAMES
    )
    for split, path in splits:
        if not any(inner.is_dir() for inner in visible(path)):
            problems.append(f"{place(path)}: the {split} split has no class folders")
    return splits


def _images(
    folder: Path,
    visible: Callable[[Path], list[Path]],
    place: Callable[[Path], str],
    problems: list[str],
    passed_over: list[str],
) -> Iterator[Path]:
    for path in visible(folder):
        if path.is_dir() and path.is_symlink():  # could lead in a circle
            problems.append(f"{place(path)}: is a link to a folder: put the folder itself there")
        elif path.is_dir():
            yield from _images(path, visible, place, problems, passed_over)
        elif path.suffix.lower() in IMAGE_SUFFIXES:
            yield path
        else:
            passed_over.append(place(path))
