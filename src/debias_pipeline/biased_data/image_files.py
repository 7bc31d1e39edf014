"""Image files: found without leaving raw_dir, and all that is wrong told at once."""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from debias_pipeline.errors import UserError

# Left in folders by desktops and network disks, in small letters; skipped as hidden files are.
_LITTER: Final = frozenset(
    {"thumbs.db", "desktop.ini", "__macosx", "@eadir", "#recycle", "$recycle.bin", "lost+found"}
    | {"system volume information"}
)
_SHOWN_PROBLEMS: Final = 10


def children(
    folder: Path, raw_dir: Path, place: Callable[[Path], str], problems: list[str]
) -> Iterator[Path]:
    """Yield what lies in a folder, sorted by name, litter left out.

    Args:
        folder: where to look; if there is none, nothing is yielded.
        raw_dir: what leads out of it is not yielded but complained about.
        place: how a path is told to people.
        problems: complaints are added here.
    """
    if not folder.is_dir():
        return
    if not is_inside(folder, raw_dir):
        problems.append(f"{place(folder)}: leads out of raw_dir")
        return
    with os.scandir(folder) as listing:
        found = sorted((entry.name, entry.is_symlink()) for entry in listing)
    for name, is_link in found:
        if name.startswith(".") or name.lower() in _LITTER:
            continue
        path = folder / name
        if is_link and not is_inside(path, raw_dir):
            problems.append(f"{place(path)}: leads out of raw_dir")
            continue
        yield path


def is_inside(path: Path, raw_dir: Path) -> bool:
    """Whether a path, links followed, lies in a folder."""
    try:
        return path.resolve().is_relative_to(raw_dir.resolve())
    except (OSError, RuntimeError, ValueError):  # links that go in a circle, a name with NUL
        return False


def problems_error(folder: Path, problems: Sequence[str], remedy: str) -> UserError:
    """Tell how many problems there are, and the first ten of them.

    Args:
        folder: where.
        problems: each with its place; at least one.
        remedy: a sentence on what to do.
    """
    count = len(problems)
    shown = "; ".join(problems[:_SHOWN_PROBLEMS])
    rest = f"; and {count - _SHOWN_PROBLEMS} more" if count > _SHOWN_PROBLEMS else ""
    return UserError(
        f"{folder} has {count} problem{'s' if count > 1 else ''}: {shown}{rest}. {remedy}"
    )
