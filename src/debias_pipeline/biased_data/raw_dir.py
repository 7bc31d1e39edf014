"""The folder that raw data is read from."""

from pathlib import Path
from typing import Final

from debias_pipeline.errors import UserError

DEFAULT_RAW_DIR: Final = Path("data/01_raw")


def check_raw_dir(raw_dir: Path) -> None:
    """Refuse a folder that the user named and that holds nothing.

    A mistyped path would otherwise set off a download into a wrong place. The project's own raw
    folder may be missing or empty: it is where downloads belong.

    Raises:
        UserError: if `raw_dir` is missing, empty or no folder.
    """
    if raw_dir.exists() and not raw_dir.is_dir():
        raise UserError(f"raw_dir={raw_dir} is not a folder: pass the folder that holds raw data.")
    if is_default_raw_dir(raw_dir):
        return
    if not raw_dir.exists():
        raise UserError(
            f"raw_dir={raw_dir} does not exist: correct the path, or leave raw_dir out to use "
            f"{DEFAULT_RAW_DIR.as_posix()}."
        )
    if not any(not entry.name.startswith(".") for entry in raw_dir.iterdir()):
        raise UserError(
            f"raw_dir={raw_dir} is empty: put raw data there, or leave raw_dir out to use "
            f"{DEFAULT_RAW_DIR.as_posix()}."
        )


def is_default_raw_dir(raw_dir: Path) -> bool:
    """Whether this is the project's own raw folder, given relative or absolute."""
    return raw_dir.parts[-2:] == DEFAULT_RAW_DIR.parts
