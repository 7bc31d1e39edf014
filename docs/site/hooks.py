"""Hooks of MkDocs: pages from elsewhere in the repository, reference pages, and formulas.

Pages in docs/ link to files of the repository, so that they can be read there too. On the site the
links lead to the pages that these files become.
"""

import posixpath
import re
import shutil
import sys
from html import unescape
from pathlib import Path

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import get_plugin_logger
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(Path(__file__).parent), str(ROOT / "docs")]

import reference  # noqa: E402
from sample_reports import REPORTS  # noqa: E402

log = get_plugin_logger("docs/site/hooks.py")

# File of the repository → page or file of the site.
INCLUDED = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "benchmarks/README.md": "benchmarks.md",
    "data/README.md": "data_files.md",
    "CITATION.cff": "CITATION.cff",
}
SOURCES = {page: file for file, page in INCLUDED.items()}
LINK_TO_LIST = 'href="../sample_reports.html"'


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are not in docs/, and the sample reports that exist."""
    for page, source in SOURCES.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=text))
    for name, path in _reports(config).items():
        # Reports link to the index page of their run.
        text = re.sub(
            r'href="[./]*index\.html[^"]*"', LINK_TO_LIST, path.read_text(encoding="utf-8")
        )
        # On the site the reports share a folder.
        text = text.replace('href="tables/', f'href="{name}_tables/')
        files.append(File.generated(config, f"sample_reports/{name}.html", content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Replace the mark of generated content, and links to files outside of docs/."""
    del files
    content = {**reference.CONTENT, "sample reports": lambda: _list_of_reports(config)}
    markdown = re.sub(r"<!-- generated: (.+) -->", lambda mark: content[mark[1]](), markdown)
    source = SOURCES.get(page.file.src_uri, f"docs/{page.file.src_uri}")
    markdown = re.sub(
        r"\[[\w/]+\.md\]\(([\w/.]+\.md)",
        lambda link: f"[{_title(posixpath.join(posixpath.dirname(source), link[1]))}]({link[1]}",
        markdown,
    )
    return re.sub(r"(?<=\]\()([^)\s#]+)", lambda link: _on_site(link[1], source), markdown)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Convert formulas to MathML, which browsers show without a script."""
    del page, config, files
    html = re.sub(
        r'<span class="arithmatex">\\\((.*?)\\\)</span>',
        lambda found: convert(unescape(found[1])),
        html,
        flags=re.DOTALL,
    )
    html = re.sub(
        r'<div class="arithmatex">\s*\\\[(.*?)\\\]\s*</div>',
        lambda found: (
            f'<div class="formula" tabindex="0">{convert(unescape(found[1]), "block")}</div>'
        ),
        html,
        flags=re.DOTALL,
    )
    # Tables and code that are wider than the screen scroll, also by keyboard.
    return html.replace("<pre>", '<pre tabindex="0">')


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Name the search dialog, as the theme does not, for screen readers."""
    del page, config
    return output.replace('role="dialog"', 'role="dialog" aria-label="Search"', 1)


def on_post_build(config: MkDocsConfig) -> None:
    """Copy the tables of the sample reports. As files of MkDocs, those in Markdown become pages."""
    for name, path in _reports(config).items():
        tables = path.with_name(f"{name}_tables")
        if tables.is_dir():
            shutil.copytree(
                tables,
                Path(config.site_dir, "sample_reports", tables.name),
                ignore=shutil.ignore_patterns("index.json"),
                dirs_exist_ok=True,
            )


def _on_site(link: str, source: str) -> str:
    """Return a link of a file of the repository as a link of its page."""
    if "://" in link or link.startswith("mailto:"):
        return link
    target = posixpath.normpath(posixpath.join(posixpath.dirname(source), link))
    if target in INCLUDED:
        return INCLUDED[target]
    # All pages are in docs/ itself.
    return target.removeprefix("docs/")


def _title(file: str) -> str:
    """Return the first heading of a page of the repository: the text of links on the site."""
    return (ROOT / file).read_text(encoding="utf-8").partition("# ")[2].partition("\n")[0]


def _reports(config: MkDocsConfig) -> dict[str, Path]:
    folder = ROOT / config.extra["sample_reports"]
    return {name: path for name in REPORTS if (path := folder / f"{name}.html").exists()}


def _list_of_reports(config: MkDocsConfig) -> str:
    reports = _reports(config)
    if not reports:
        log.warning("no sample reports; make them by python docs/sample_reports.py")
    lines = [f"- [{REPORTS[name].title}](sample_reports/{name}.html)" for name in reports]
    made = ROOT / config.extra["sample_reports"] / "made_by.txt"
    if made.exists():
        commands = made.read_text(encoding="utf-8").splitlines()
        lines += ["", "They were made for this site by", "", *(f"    {each}" for each in commands)]
    return "\n".join(lines)
