"""Check the folder of raw data and list its files without leaving it."""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from debias_pipeline.errors import UserError, printable

DEFAULT_RAW_DIR: Final = Path("data/01_raw")

# Files and folders that desktops, network drives and photo programs create, in lower case.
_SYSTEM_NAMES: Final = frozenset(
    {"thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "icon\r", "picasa.ini"}
    | {"__macosx", "$recycle.bin", "recycler", "system volume information", "lost+found"}
    | {"@eadir", "@tmp", "#recycle", "#snapshot", "@recycle", "@recently-snapshot"}
    | {"network trash folder", "temporary items"}
)
_SHOWN_EXAMPLES: Final = 3

# The number of problems that an error shows.
SHOWN_PROBLEMS: Final = 10
HIDDEN: Final = "hidden"
SYSTEM: Final = "made by the system"


@dataclass(frozen=True)
class FileNotes:
    """Files that are found in a folder and are not among its images.

    Attributes:
        left_out: file → why it is left out, in a few words that several files share.
        bad: file → why it, although meant to be an image, cannot be used.
    """

    left_out: dict[str, str] = field(default_factory=dict)
    bad: dict[str, str] = field(default_factory=dict)

    def left_out_counts(self) -> dict[str, int]:
        """Return the number of files that are left out, by reason, the most frequent first."""
        return dict(Counter(self.left_out.values()).most_common())

    def describe_left_out(self) -> str:
        """Return the numbers of files that are left out, with the first of them."""
        examples: dict[str, list[str]] = {}
        for file, reason in self.left_out.items():
            examples.setdefault(reason, []).append(file)
        return "; ".join(
            f"{count:,} {reason} ({', '.join(examples[reason][:_SHOWN_EXAMPLES])}"
            f"{', …' if count > _SHOWN_EXAMPLES else ''})"
            for reason, count in self.left_out_counts().items()
        )


class ProblemsError(UserError):
    """Several things are wrong with files; the message shows only the first ones.

    Attributes:
        listed: all of them, as pairs of the file ("" if it is not about one file) and the problem.
    """

    def __init__(self, message: str, listed: Sequence[tuple[str, str]]) -> None:
        super().__init__(message)
        self.listed = listed


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
    folder: Path,
    raw_dir: Path,
    place: Callable[[Path], str],
    problems: list[str],
    notes: FileNotes | None = None,
) -> Iterator[Path]:
    """Yield the files and folders in a folder, sorted by name, without hidden and system files.

    Names that are not UTF-8 are reported and not yielded.

    Args:
        folder: may be missing.
        raw_dir: links that lead out of it are reported and not yielded.
        place: returns the name of a path for messages.
        problems: messages are appended.
        notes: hidden and system files are added here, with those in folders of that kind, and
            files that are links out of `raw_dir`; None to pass over the former and to report the
            latter as problems.
    """
    if not folder.is_dir():
        return
    if not is_inside(folder, raw_dir):
        problems.append(f"{place(folder)}: leads out of raw_dir")
        return
    with os.scandir(folder) as listing:
        found = sorted((entry.name, entry.is_symlink()) for entry in listing)
    for name, is_link in found:
        path = folder / name
        if reason := reason_to_ignore(Path(name)):
            if notes is not None:
                notes.left_out.update((place(file), reason) for file in _files_in(path))
            continue
        if is_utf8(name):
            if not is_link or is_inside(path, raw_dir):
                yield path
                continue
            problem = "leads out of raw_dir"
        else:
            problem = "its name is not UTF-8; rename it"
        shown = printable(place(path))
        if notes is not None and not path.is_dir():
            notes.bad[shown] = problem
        else:
            problems.append(f"{shown}: {problem}")


def reason_to_ignore(path: Path) -> str:
    """Return why a file is left out: it or a folder around it is hidden or of the system, or "".

    Args:
        path: relative to the folder that the user named.
    """
    if any(part.lower() in _SYSTEM_NAMES for part in path.parts):
        return SYSTEM
    return HIDDEN if any(part.startswith(".") for part in path.parts) else ""


def _files_in(path: Path) -> Iterator[Path]:
    """Yield the path of a file, or of the files in a folder; links are not followed."""
    if path.is_symlink() or not path.is_dir():
        yield path
        return
    for folder, _, names in os.walk(path):
        yield from (Path(folder, name) for name in names)


def is_utf8(name: str) -> bool:
    """Return whether the name of a file can be written as UTF-8."""
    return name.encode(errors="replace").decode() == name


def is_inside(path: Path, raw_dir: Path) -> bool:
    """Return whether a path is inside of a folder after following links."""
    try:
        return path.resolve().is_relative_to(raw_dir.resolve())
    except (OSError, RuntimeError, ValueError):  # a loop of links, or NUL in the name
        return False


def problems_error(
    folder: Path,
    problems: Sequence[str],
    remedy: str,
    listed: Sequence[tuple[str, str]] | None = None,
) -> ProblemsError:
    """Return an error with the number of problems and the first ten of them.

    Args:
        problems: one or more messages.
        remedy: a sentence on what to do.
        listed: see `ProblemsError`; None for the messages.
    """
    count = len(problems)
    shown = "; ".join(problems[:SHOWN_PROBLEMS])
    rest = f"; and {count - SHOWN_PROBLEMS} more" if count > SHOWN_PROBLEMS else ""
    return ProblemsError(
        f"{folder} has {count} problem{'s' if count > 1 else ''}: {shown}{rest}. {remedy}",
        [("", problem) for problem in problems] if listed is None else listed,
    )
