"""Tables of an HTML page, read back."""

from html.parser import HTMLParser


class Table(HTMLParser):
    """The texts of one table's cells, row by row.

    With a rule, only the head and the rows of this selection rule, without its heading.
    """

    def __init__(self, html: str, name: str, rule: str | None = None) -> None:
        super().__init__()
        self._rule, self._of_rule, self._is_shown = rule, True, True
        self.rows: list[list[str]] = []
        self.titles: dict[tuple[int, int], str] = {}
        start = html.index(f'id="{name}"')
        self.feed(html[html.rindex("<table", 0, start) : html.index("</table>", start)])

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag == "tbody":
            self._of_rule = self._rule in (None, found.get("data-rule"))
        if tag == "tr":
            is_heading = self._rule is not None and found.get("class") == "section"
            self._is_shown = self._of_rule and not is_heading
            if self._is_shown:
                self.rows.append([])
        if tag in ("td", "th") and self._is_shown:
            self.rows[-1].append("")
            self.titles[len(self.rows) - 1, len(self.rows[-1]) - 1] = found.get("title") or ""

    def handle_data(self, data: str) -> None:
        if self._is_shown and self.rows and self.rows[-1]:
            self.rows[-1][-1] = " ".join([self.rows[-1][-1], data.strip()]).strip()
