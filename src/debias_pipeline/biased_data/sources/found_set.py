"""Find a published data set in raw_dir: as a folder, or as an archive of it."""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from debias_pipeline.biased_data.sources.archives import archive_stem, archives_in, extracted
from debias_pipeline.biased_data.sources.raw_dir import is_inside
from debias_pipeline.errors import UserError


@dataclass(frozen=True)
class FoundSet:
    """A data set found in `raw_dir`.

    Attributes:
        name: of the data set; every `source` starts with it.
        folder: the folder of the data set, or the archive of it.
        raw_dir: as given by the user, or the folder to which the archive is unpacked; nothing
            outside of it is read.
        archive: None if the data set is not in an archive.
    """

    name: str
    folder: Path
    raw_dir: Path
    archive: Path | None = None

    @property
    def where(self) -> Path:
        """Path of the archive or folder, for messages."""
        return self.archive or self.folder

    def place(self, path: Path) -> str:
        """Return the path of a file in the folder as `source` and messages show it."""
        return Path(self.name, path.relative_to(self.folder)).as_posix()


def find_set(
    name: str,
    raw_dir: Path,
    has_set: Callable[[Path], bool],
    other_names: Collection[str] = (),
    *,
    any_folder: bool = False,
) -> FoundSet | None:
    """Return where a data set is, if it is there.

    Args:
        name: name of the data set.
        raw_dir: may contain the folder `name`, be this folder, or contain the archive `name`.zip
            (.tar, .tar.gz, …). A folder is preferred to an archive.
        has_set: whether a folder contains the files of the data set.
        other_names: names that the folder or archive may have instead.
        any_folder: whether `raw_dir` may be the folder of the data set under any name, since
            `has_set` accepts no other data set.

    Raises:
        UserError: if the folder or archive is a link that leads out of `raw_dir`, or there are
            several archives.
    """
    names = (name, *other_names)
    candidates = [raw_dir / each for each in names]
    if any_folder or raw_dir.resolve().name in names:
        candidates.append(raw_dir)
    for folder in candidates:
        if not has_set(folder):
            continue
        if not is_inside(folder, raw_dir):
            raise UserError(
                f"{folder} is a link that leads out of raw_dir; set raw_dir={folder.resolve()}."
            )
        return FoundSet(name, folder, raw_dir)
    archives = [path for path in archives_in(raw_dir) if archive_stem(path) in names]
    if len(archives) > 1:
        raise UserError(
            f"{raw_dir} has several archives, {' and '.join(path.name for path in archives)}; keep "
            f"the one to use."
        )
    return FoundSet(name, archives[0], raw_dir, archives[0]) if archives else None


@contextmanager
def unpacked(
    found: FoundSet,
    has_set: Callable[[Path], bool],
    content: str,
    wanted: Callable[[PurePosixPath], bool] | None = None,
) -> Iterator[FoundSet]:
    """Unpack the archive of a data set into a temporary folder, if it is in one.

    Args:
        has_set: as for `find_set`.
        content: what the archive should contain, for the message.
        wanted: as for `extracted`.

    Yields:
        The data set in a folder.

    Raises:
        UserError: if the archive is unsafe or damaged, or does not contain the data set.
    """
    if found.archive is None:
        yield found
        return
    with extracted(found.archive, wanted) as root:
        # The folder of the data set may be inside of another folder, or missing.
        inner = [root / found.name, root, *sorted(root.glob(f"*/{found.name}")), *_folders(root)]
        folder = next((place for place in inner if has_set(place)), None)
        if folder is None:
            raise UserError(f"{found.archive} has no {content}; pack it again, or remove it.")
        yield replace(found, folder=folder, raw_dir=root)


def _folders(root: Path) -> list[Path]:
    return sorted(path for path in root.glob("*") if path.is_dir())
