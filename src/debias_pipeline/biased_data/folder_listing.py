"""What a user's own folder of images holds: from a table in it, or from its class folders."""

from pathlib import Path

from debias_pipeline.biased_data.class_folder_listing import list_class_folders
from debias_pipeline.biased_data.listing import Listing
from debias_pipeline.biased_data.table_listing import TABLE_SUFFIXES, list_table, named_table
from debias_pipeline.errors import UserError


def list_folder(raw_dir: Path, table: str) -> Listing:
    """List the images of a folder.

    Args:
        raw_dir: holds the images.
        table: of this name in `raw_dir`; "" takes the only one there, or class folders if there
            is none.

    Raises:
        UserError: if there is neither table nor class folders, several tables, or a table can't
            be read or lacks columns.
    """
    if table:
        return list_table(raw_dir, named_table(raw_dir, table))
    tables = sorted(
        path
        for path in raw_dir.iterdir()
        if path.suffix.lower() in TABLE_SUFFIXES and not path.name.startswith(".")
    )
    if len(tables) > 1:
        raise UserError(
            f"{raw_dir} holds several tables ({', '.join(path.name for path in tables)}): name "
            f"the one to use with table=…"
        )
    if tables:
        return list_table(raw_dir, named_table(raw_dir, tables[0].name))
    return list_class_folders(raw_dir)
