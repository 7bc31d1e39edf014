"""A dataset of figures as a folder of .svg files."""

import json
from pathlib import PurePosixPath
from typing import Final

from kedro.io import DatasetError
from kedro.io.core import get_filepath_str

from debias_pipeline.io.file_dataset import FileDataset
from debias_pipeline.io.previews import ImagePreview, svg_preview
from debias_pipeline.io.storage import appearing

_INDEX: Final = "index.json"


class FiguresDataset(FileDataset[dict[str, str]]):
    """Figures by name: a folder with a file `<name>.svg` for each, and a list of the names.

    The list is written last, and a folder without it counts as missing: figures are complete or
    do not exist.
    """

    def load(self) -> dict[str, str]:
        """Return SVG text by name.

        Raises:
            DatasetError: if the folder is missing, incomplete or damaged.
        """
        place = self._existing("run the pipeline that makes it first")
        folder = self._get_load_path()
        try:
            names = json.loads(self._read(folder / _INDEX))
            return {name: self._read(folder / f"{name}.svg") for name in names}
        except (OSError, ValueError, TypeError) as error:
            raise DatasetError(
                f"{place} is damaged ({error}): delete it and run the pipeline that makes it again."
            ) from error

    def preview(self) -> ImagePreview:
        """Return the first figure, which is the main one, for Kedro-Viz; empty if there is none."""
        figures = self.load()
        return svg_preview(next(iter(figures.values()))) if figures else ImagePreview("")

    def save(self, data: dict[str, str]) -> None:
        """Write the figures and remove those of an earlier save.

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
        for name, svg in data.items():
            self._write(folder / f"{name}.svg", svg)
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
