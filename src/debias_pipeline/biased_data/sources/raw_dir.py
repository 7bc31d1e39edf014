"""Check the folder of raw data and list its files without leaving it."""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from debias_pipeline.errors import UserError, printable

DEFAULT_RAW_DIR: Final = Path("data/01_raw")

# Files and folders that desktops and network drives create, in lower case; skipped like hidden
# files.
_IGNORED_NAMES: Final = frozenset(
    {"thumbs.db", "desktop.ini", "__macosx", "@eadir", "#recycle", "$recycle.bin", "lost+found"}
    | {"system volume information"}
)
_SHOWN_PROBLEMS: Final = 10


def check_raw_dir(raw_dir: Path) -> None:
    """Check that a folder named by the user exists and is not empty.

    Otherwise a mistyped path would start a download to the wrong place. The project's own raw
    folder may be missing or empty, since downloads go there.

    Raises:
        UserError: if `raw_dir` is missing, empty or not a folder.
    """
    if raw_dir.exists() and not raw_dir.is_dir():
        raise UserError(f"raw_dir={raw_dir} is not a folder; set it to the folder of the raw data.")
    if is_default_raw_dir(raw_dir):
        return
    if not raw_dir.exists():
        raise UserError(
            f"raw_dir={raw_dir} does not exist; correct the path, or omit raw_dir to use "
            f"{DEFAULT_RAW_DIR.as_posix()}."
        )
    if not any(not entry.name.startswith(".") for entry in raw_dir.iterdir()):
        raise UserError(
            f"raw_dir={raw_dir} is empty; put raw data there, or omit raw_dir to use "
            f"{DEFAULT_RAW_DIR.as_posix()}."
        )


def is_default_raw_dir(raw_dir: Path) -> bool:
    """Return whether a relative or absolute path ends with the project's own raw folder."""
    return raw_dir.parts[-2:] == DEFAULT_RAW_DIR.parts


def children(
    folder: Path, raw_dir: Path, place: Callable[[Path], str], problems: list[str]
) -> Iterator[Path]:
    """Yield the files and folders in a folder, sorted by name, without hidden and system files.

    Names that are not UTF-8 are reported and not yielded.

    Args:
        folder: may be missing.
        raw_dir: links that lead out of it are reported and not yielded.
        place: returns the name of a path for messages.
        problems: messages are appended.
    """
    if not folder.is_dir():
        return
    if not is_inside(folder, raw_dir):
        problems.append(f"{place(folder)}: leads out of raw_dir")
        return
    with os.scandir(folder) as listing:
        found = sorted((entry.name, entry.is_symlink()) for entry in listing)
    for name, is_link in found:
        if name.startswith(".") or name.lower() in _IGNORED_NAMES:
            continue
        path = folder / name
        if not is_utf8(name):
            problems.append(f"{printable(place(path))}: its name is not UTF-8; rename it")
            continue
        if is_link and not is_inside(path, raw_dir):
            problems.append(f"{place(path)}: leads out of raw_dir")
            continue
        yield path


def is_utf8(name: str) -> bool:
    """Return whether the name of a file can be written as UTF-8."""
    return name.encode(errors="replace").decode() == name


def is_inside(path: Path, raw_dir: Path) -> bool:
    """Return whether a path is inside of a folder after following links."""
    try:
        return path.resolve().is_relative_to(raw_dir.resolve())
    except (OSError, RuntimeError, ValueError):  # a loop of links, or NUL in the name
        return False


def problems_error(folder: Path, problems: Sequence[str], remedy: str) -> UserError:
    """Return an error with the number of problems and the first ten of them.

    Args:
        problems: one or more messages.
        remedy: a sentence on what to do.
    """
    count = len(problems)
    shown = "; ".join(problems[:_SHOWN_PROBLEMS])
    rest = f"; and {count - _SHOWN_PROBLEMS} more" if count > _SHOWN_PROBLEMS else ""
    return UserError(
        f"{folder} has {count} problem{'s' if count > 1 else ''}: {shown}{rest}. {remedy}"
    )
