"""Tables of an HTML page, read back."""

from html.parser import HTMLParser


class Table(HTMLParser):
    """The texts of one table's cells, row by row."""

    def __init__(self, html: str, name: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.titles: dict[tuple[int, int], str] = {}
        start = html.index(f'id="{name}"')
        self.feed(html[html.rindex("<table", 0, start) : html.index("</table>", start)])

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self.titles[len(self.rows) - 1, len(self.rows[-1]) - 1] = dict(attrs).get("title") or ""

    def handle_data(self, data: str) -> None:
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] = " ".join([self.rows[-1][-1], data.strip()]).strip()
