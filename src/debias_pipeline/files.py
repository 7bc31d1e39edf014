"""Write local files atomically, and read and write tensors without pickle."""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from safetensors import safe_open

if TYPE_CHECKING:
    from torch import Tensor

# The header of a safetensors file maps text to text, so all metadata is one text, in JSON.
METADATA_KEY: Final = "metadata"

# Takes pairs of a file and its problem, and returns the path or URL of the table that it wrote.
WriteBadFiles = Callable[[Sequence[tuple[str, str]]], str]


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path and rename it to `path` on success.

    Both are in the same folder, as only renaming within one file system is atomic. On an error the
    temporary file is removed, and so are folders that were created for it; `path` stays as it was.

    Args:
        path: where the file will be; its folder is created if necessary.

    Yields:
        The temporary path; the file does not exist yet.
    """
    created = [folder for folder in path.parents if not folder.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid4().hex}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        # A folder in which another process has put a file stays.
        with suppress(OSError):
            for folder in created:
                folder.rmdir()
        raise


def link_or_copy(source: Path, target: Path) -> None:
    """Create `target` as a hard link to `source`, or as a copy on another disk."""
    try:
        target.hardlink_to(source.resolve())
    except OSError:
        shutil.copyfile(source, target)


def read_tensors(path: Path) -> "tuple[dict[str, Tensor], dict[str, str]]":
    """Return the tensors of a safetensors file, on the CPU, and its header.

    Raises:
        SafetensorError: if it is damaged or of another format.
        OSError: if it cannot be read.
    """
    with safe_open(path, framework="pt", device="cpu") as file:
        header = file.metadata() or {}
        return {name: file.get_tensor(name) for name in file.keys()}, header  # noqa: SIM118


def write_tensors(path: Path, tensors: "Mapping[str, Tensor]", metadata: str) -> None:
    """Write a safetensors file; use with `replacing`, as it is written piece by piece.

    Args:
        metadata: JSON text, written to the header under METADATA_KEY.
    """
    # Slow to import, and commands that only list the catalog do not need them.
    from safetensors.torch import save_file
    from torch import contiguous_format

    # Tensors may share storage in memory but not in the file, so they are copied.
    copies = {
        name: tensor.detach().cpu().clone(memory_format=contiguous_format)
        for name, tensor in tensors.items()
    }
    path.touch()
    mode = path.stat().st_mode
    save_file(copies, path, metadata={METADATA_KEY: metadata})
    # safetensors replaces the file by a temporary one that only its owner may read.
    path.chmod(mode)
