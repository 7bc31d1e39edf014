"""List, label and split a folder of a user's own images."""

from pathlib import Path

from debias_pipeline.biased_data.folder.class_folders import list_class_folders
from debias_pipeline.biased_data.folder.listing import Listing
from debias_pipeline.errors import UserError

__all__ = ["Listing", "list_folder"]


def list_folder(raw_dir: Path, table: str) -> Listing:
    """List the images of a folder.

    Args:
        table: name of a table in `raw_dir`; "" for the only table there, or class folders if there
            is none.

    Raises:
        UserError: if there is neither a table nor class folders, there are several tables or only
            tables of a kind that is not read, or the table cannot be read or has missing columns.
    """
    # Imports pandas; commands that read no data import this module as well.
    from debias_pipeline.biased_data.folder.tables import find_tables, list_table, named_table

    if table:
        return list_table(raw_dir, named_table(raw_dir, table))
    tables, others = find_tables(raw_dir)
    if len(tables) > 1:
        raise UserError(
            f"{raw_dir} has several tables ({', '.join(tables)}); select one with table=…"
        )
    if tables:
        return list_table(raw_dir, named_table(raw_dir, tables[0]))
    if others:
        raise UserError(
            f"{raw_dir} has {', '.join(others)}, which is not read; save the table as CSV (UTF-8), "
            f"or move it out of {raw_dir} if the folders are the labels."
        )
    return list_class_folders(raw_dir)
