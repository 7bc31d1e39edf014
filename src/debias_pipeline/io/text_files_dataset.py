"""Datasets of several text files in a folder: figures, and the tables of a page."""

import json
from pathlib import PurePosixPath
from typing import ClassVar, Final

from kedro.io import DatasetError
from kedro.io.core import get_filepath_str

from debias_pipeline.io.file_dataset import FileDataset
from debias_pipeline.io.previews import DescribedMixin, ImagePreview, svg_preview
from debias_pipeline.io.storage import appearing

_INDEX: Final = "index.json"


class TextFilesDataset(FileDataset[dict[str, str]]):
    """Text files by name: a folder with the files, and a list of the names.

    The list is written last, and a folder without it counts as missing: the files are complete or
    do not exist.
    """

    SUFFIX: ClassVar[str] = ""  # follows the names

    def load(self) -> dict[str, str]:
        """Return text by name.

        Raises:
            DatasetError: if the folder is missing, incomplete or damaged.
        """
        place = self._existing("run the pipeline that makes it first")
        folder = self._get_load_path()
        try:
            names = json.loads(self._read(folder / _INDEX))
            return {name: self._read(folder / f"{name}{self.SUFFIX}") for name in names}
        except (OSError, ValueError, TypeError) as error:
            raise DatasetError(
                f"{place} is damaged ({error}): delete it and run the pipeline that makes it again."
            ) from error

    def save(self, data: dict[str, str]) -> None:
        """Write the files and remove those of an earlier save.

        Raises:
            DatasetError: if a name cannot be a file name.
        """
        folder = self._get_save_path()
        for name in data:
            if PurePosixPath(name).name != name:
                raise DatasetError(f"Not saved to {folder}: {name!r} is not a file name.")
        index = get_filepath_str(folder / _INDEX, self._protocol)
        if self._fs.exists(index):
            self._fs.rm(index)
            self._fs.rm(get_filepath_str(folder, self._protocol), recursive=True)
        for name, text in data.items():
            self._write(folder / f"{name}{self.SUFFIX}", text)
        self._write(folder / _INDEX, json.dumps(list(data)))
        self._release()

    def _is_stored(self, path: str) -> bool:
        return bool(self._fs.isfile(f"{path}/{_INDEX}"))

    def _read(self, path: PurePosixPath) -> str:
        text: str = self._fs.cat_file(get_filepath_str(path, self._protocol)).decode("utf-8")
        return text

    def _write(self, path: PurePosixPath, text: str) -> None:
        with appearing(self._fs, self._protocol, path) as file:
            file.write_text(text, encoding="utf-8")


class FiguresDataset(TextFilesDataset):
    """Figures by name, as .svg files."""

    SUFFIX: ClassVar[str] = ".svg"

    def preview(self) -> ImagePreview:
        """Return the first figure, which is the main one, for Kedro-Viz; empty if there is none."""
        figures = self.load()
        return svg_preview(next(iter(figures.values()))) if figures else ImagePreview("")


class TablesDataset(DescribedMixin, TextFilesDataset):
    """The tables of a page as files, in the folder `tables` next to each version of the page.

    The page links to them by relative addresses, which stay valid if the folder of a version is
    moved. So `filepath` is the path of the page, and the entry must be versioned like the page.
    """

    def _get_versioned_path(self, version: str) -> PurePosixPath:
        # Kedro has no public way to choose where a version is; its version is pinned.
        path: PurePosixPath = super()._get_versioned_path(version)
        return path.with_name("tables")
