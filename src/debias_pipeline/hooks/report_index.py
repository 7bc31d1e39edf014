"""Index pages: one page per setting, and one of the grid, at paths without a version."""

import posixpath
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any, Final

from fsspec import AbstractFileSystem
from kedro.pipeline import Pipeline

from debias_pipeline.grid import Catalog
from debias_pipeline.io import LOCAL, appearing
from debias_pipeline.methods import method_names
from debias_pipeline.pipeline_registry import baseline_first
from debias_pipeline.pipelines.audit import AUDIT as AUDIT_NAMESPACE
from debias_pipeline.pipelines.evaluation import PRETRAINED
from debias_pipeline.reporting import (
    ABOUT_BYTES,
    AUDIT,
    COMPARISON,
    LEADERBOARD,
    PageGroup,
    StoredPage,
    read_about,
    write_index_page,
)

INDEX_FILE: Final = "index.html"
# Ends of the names of the entries that an index page links to.
_LINKED: Final = ("report", "suspects", "to_label", "leaderboard_page")


def update_index(pipeline: Pipeline, catalog: Catalog) -> str | None:
    """Write the index page of the setting of a run, and of the grid if it ran.

    As all index pages link to the leaderboard, a new leaderboard updates the existing ones.

    Returns:
        URL of the page, or None if the run wrote nothing that it links to.
    """
    outputs = pipeline.all_outputs()
    if not any(name.endswith(_LINKED) for name in outputs):
        return None
    is_grid = "leaderboard_page" in outputs
    dataset: Any = catalog.get("leaderboard_index" if is_grid else "report_index")
    page: Any = catalog.get("leaderboard_page")
    if dataset is None or page is None:  # in a catalog of an earlier version
        return None
    index, leaderboard = PurePosixPath(dataset._filepath), PurePosixPath(page._filepath)
    indexes = {index}
    if is_grid:
        indexes |= _existing_indexes(dataset._fs, leaderboard.parents[1])
    _write(dataset._fs, dataset._protocol, indexes, leaderboard)
    if dataset._protocol != LOCAL:
        return str(dataset._fs.unstrip_protocol(str(index)))
    return Path(index).absolute().as_uri()


def update_existing_indexes(catalog: Catalog) -> None:
    """Write all existing index pages again, for example after reports were deleted."""
    page: Any = catalog.get("leaderboard_page")
    leaderboard = PurePosixPath(page._filepath)
    existing = _existing_indexes(page._fs, leaderboard.parents[1])
    _write(page._fs, page._protocol, existing, leaderboard)


def _existing_indexes(
    filesystem: AbstractFileSystem, reporting: PurePosixPath
) -> set[PurePosixPath]:
    # The folder of a setting is <data set>/<percent or name>, that of the grid has one level.
    found = [
        *filesystem.glob(f"{reporting}/*/{INDEX_FILE}"),
        *filesystem.glob(f"{reporting}/*/*/{INDEX_FILE}"),
    ]
    return {PurePosixPath(each) for each in found}


def _write(
    filesystem: AbstractFileSystem,
    protocol: str,
    indexes: Iterable[PurePosixPath],
    leaderboard: PurePosixPath,
) -> None:
    for index in indexes:
        page = _Folder(filesystem, index.parent, leaderboard).page()
        with appearing(filesystem, protocol, index) as file:
            file.write_text(page, encoding="utf-8")


class _Folder:
    """The reports of a setting, or of the grid."""

    def __init__(
        self, filesystem: AbstractFileSystem, path: PurePosixPath, leaderboard: PurePosixPath
    ) -> None:
        """Set up.

        Args:
            filesystem: has the reports.
            path: folder of the index page.
            leaderboard: path of the leaderboard page, without its version.
        """
        self._fs, self._path, self._leaderboard = filesystem, path, leaderboard
        filesystem.invalidate_cache()

    def page(self) -> str:
        """Return the index page."""
        leaderboard = PageGroup(LEADERBOARD, self._versions(self._leaderboard))
        groups = [leaderboard]
        if self._path != self._leaderboard.parent:
            comparison = self._versions(self._path / "comparison_report.html")
            groups = [PageGroup(COMPARISON, comparison), *self._methods(), leaderboard]
        # Method reports link to the comparison, also if there is none.
        shown = [each for each in groups if each.pages or each.files or each.name == COMPARISON]
        title = "/".join(self._path.relative_to(self._leaderboard.parents[1]).parts)
        return write_index_page(title, shown)

    def _methods(self) -> list[PageGroup]:
        names = (*baseline_first(method_names()), PRETRAINED, AUDIT_NAMESPACE)
        return [
            PageGroup(
                AUDIT if name == AUDIT_NAMESPACE else name,
                self._versions(self._path / name / "report.html"),
                [self._relative(each) for each in self._found(self._path / name / "*.csv")],
            )
            for name in names
        ]

    def _versions(self, file: PurePosixPath) -> list[StoredPage]:
        """Return the versions of a page, the newest first."""
        return [
            StoredPage(self._relative(each), each.parent.name, self._about(each))
            for each in reversed(self._found(file / "*" / file.name))
        ]

    def _about(self, page: PurePosixPath) -> Any:
        begin = self._fs.cat_file(str(page), start=0, end=ABOUT_BYTES)
        return read_about(begin.decode("utf-8", errors="ignore"))

    def _found(self, pattern: PurePosixPath) -> list[PurePosixPath]:
        return sorted(PurePosixPath(each) for each in self._fs.glob(str(pattern)))

    def _relative(self, file: PurePosixPath) -> str:
        return posixpath.relpath(str(file), str(self._path))
