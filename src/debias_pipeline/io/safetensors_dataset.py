"""Tensors with what is to be known about them, in one file that can be opened without trust."""

import json
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, TypedDict

from kedro.io import DatasetError
from safetensors import SafetensorError

from debias_pipeline.errors import one_line
from debias_pipeline.files import METADATA_KEY, read_tensors, write_tensors
from debias_pipeline.io.file_dataset import FileDataset
from debias_pipeline.io.storage import downloaded

if TYPE_CHECKING:
    from torch import Tensor


class TensorsAndMetadata(TypedDict):
    """What is saved and loaded.

    Attributes:
        tensors: by name; any shape and dtype. On loading they lie on the CPU.
        metadata: plain JSON values (a tuple comes back as a list).
    """

    tensors: "dict[str, Tensor]"
    metadata: dict[str, Any]


class SafetensorsDataset(FileDataset[TensorsAndMetadata]):
    """Tensors and metadata in one safetensors file.

    No pickle anywhere: a checkpoint from a stranger can hold wrong numbers but no code.
    """

    def load(self) -> TensorsAndMetadata:
        """Read tensors (onto the CPU) and metadata.

        Raises:
            DatasetError: if the file is missing, truncated, or not written by this type.
        """
        place = self._existing("run the pipeline that makes it first")
        with downloaded(self._fs, self._protocol, self._get_load_path()) as path:
            tensors, header = _read(path, place)
        return {"tensors": tensors, "metadata": _parse_metadata(place, header)}

    def save(self, data: TensorsAndMetadata) -> None:
        """Write tensors and metadata; the file appears whole or not at all.

        Raises:
            DatasetError: if `data` is anything but tensors by name and plain JSON values.
        """
        tensors, metadata = _checked(self._filepath, data)
        with self._written() as path:
            write_tensors(path, tensors, metadata)


def _read(path: Path, place: str) -> "tuple[dict[str, Tensor], dict[str, str]]":
    try:
        return read_tensors(path)
    except (SafetensorError, OSError) as error:
        raise DatasetError(
            f"{place} is damaged or no safetensors file ({one_line(error)}): delete it and run "
            f"the pipeline that makes it again."
        ) from error


def _checked(path: PurePosixPath, data: TensorsAndMetadata) -> "tuple[dict[str, Tensor], str]":
    from torch import Tensor

    if not isinstance(data, dict) or set(data) != {"tensors", "metadata"}:
        raise DatasetError(f"Not saved to {path}: the data is not {{'tensors': …, 'metadata': …}}.")
    strangers = [name for name, value in data["tensors"].items() if not isinstance(value, Tensor)]
    if strangers:
        raise DatasetError(f"Not saved to {path}: no tensors: {', '.join(map(str, strangers))}.")
    try:
        metadata = json.dumps(data["metadata"], allow_nan=False)
    except (TypeError, ValueError) as error:
        raise DatasetError(
            f"Not saved to {path}: the metadata is not plain JSON ({one_line(error)})."
        ) from error
    return data["tensors"], metadata


def _parse_metadata(path: str, header: dict[str, str]) -> dict[str, Any]:
    try:
        metadata = json.loads(header[METADATA_KEY])
    except (KeyError, json.JSONDecodeError) as error:
        raise DatasetError(
            f"{path} was not written by this project (its header holds no metadata): point to one "
            f"of the project's own files."
        ) from error
    if not isinstance(metadata, dict):
        raise DatasetError(f"{path} is damaged: its metadata is no mapping; delete it.")
    return metadata
