"""How every table on the terminal looks."""

from rich import box
from rich.table import Table
from rich.text import Text


def plain_table(title: str = "", *, caption: Text | None = None, gap: int = 1) -> Table:
    """An empty table with a line under its header and no other.

    Args:
        title: stands above, in bold.
        caption: stands below.
        gap: spaces between two columns.
    """
    return Table(
        title=Text(title, style="bold") if title else None,
        caption=caption,
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, gap, 0, 0),
    )
