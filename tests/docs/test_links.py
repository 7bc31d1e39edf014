"""Links of the Markdown pages lead somewhere, and README.md names everything that there is."""

import re
from pathlib import Path

import pytest

from debias_pipeline.methods import method_names

CHECKOUT = Path(__file__).parents[2]
PAGES = [
    *CHECKOUT.glob("*.md"),
    *(CHECKOUT / "docs").rglob("*.md"),
    *(CHECKOUT / folder / "README.md" for folder in ("benchmarks", "data")),
]


def without_code(page: Path) -> str:
    return re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)


def links(page: Path) -> list[str]:
    """Targets of links and images that are not web addresses."""
    found: list[str] = re.findall(r"\]\(([^)\s]+)\)", without_code(page))
    return [target for target in found if "://" not in target]


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    headings: list[str] = re.findall(r"^#+ (.+)$", without_code(page), re.M)
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(CHECKOUT)))
def test_links_lead_to_files_and_headings(page: Path):
    for link in links(page):
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_tests_that_pages_name_exist():
    files = [*(CHECKOUT / "tests").rglob("*.py")]
    known = {path.relative_to(CHECKOUT).as_posix() for path in files}
    functions = [
        name
        for path in files
        for name in re.findall(r"^def (test_\w+)", path.read_text(encoding="utf-8"), re.M)
    ]
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        assert {*re.findall(r"\btests/[\w/]+\.py\b", text)} <= known, page
        for name, rest in re.findall(r"`(test(?:_[a-z0-9]+){3,}_?)(…?)`", text):
            found = [each for each in functions if each == name or (rest and each.startswith(name))]
            assert found, f"{page}: {name}"


def test_readme_lists_all_methods_and_pages():
    readme = CHECKOUT / "README.md"
    text = readme.read_text(encoding="utf-8")
    methods = text.split("\n## Methods\n")[1].split("\n## ")[0]
    assert not [name for name in method_names() if f"`{name}`" not in methods]
    linked = {(CHECKOUT / link.partition("#")[0]).resolve() for link in links(readme)}
    assert {*PAGES} - {readme} <= linked
