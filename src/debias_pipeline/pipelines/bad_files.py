"""Write the table of files that cannot be used, and name it in the error."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from kedro.io import DatasetError

from debias_pipeline.biased_data.sources.raw_dir import ProblemsError
from debias_pipeline.errors import UserError, one_line

logger = logging.getLogger(__name__)

# Writes pairs of a file and its problem, and returns the path; see `io.BadFilesDataset`.
WriteBadFiles = Callable[[Sequence[tuple[str, str]]], str]


@contextmanager
def named_bad_files(write: WriteBadFiles) -> Iterator[None]:
    """Write the problems of a ProblemsError to the table, and raise a UserError that names it."""
    try:
        yield
    except ProblemsError as error:
        table = write_bad_files(write, error.listed)
        raise UserError(f"{error} All are in {table}." if table else str(error)) from error


def write_bad_files(write: WriteBadFiles, listed: Sequence[tuple[str, str]]) -> str:
    """Write the table and return its path, or log a warning and return "" if that fails."""
    try:
        return write(listed)
    except (OSError, DatasetError) as error:
        logger.warning("The table of bad files cannot be written: %s", one_line(error))
        return ""
