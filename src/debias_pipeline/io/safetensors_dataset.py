"""A dataset of tensors and metadata in one safetensors file."""

import json
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, TypedDict

from kedro.io import DatasetError
from safetensors import SafetensorError

from debias_pipeline.errors import one_line
from debias_pipeline.files import METADATA_KEY, read_tensors, write_tensors
from debias_pipeline.io.file_dataset import FileDataset
from debias_pipeline.io.previews import DescribedMixin
from debias_pipeline.io.storage import downloaded

if TYPE_CHECKING:
    from torch import Tensor


class TensorsAndMetadata(TypedDict):
    """The data of a SafetensorsDataset.

    Attributes:
        tensors: by name; any shape and dtype. Loaded tensors are on the CPU.
        metadata: JSON values (a tuple is loaded as a list).
    """

    tensors: "dict[str, Tensor]"
    metadata: dict[str, Any]


class SafetensorsDataset(DescribedMixin, FileDataset[TensorsAndMetadata]):
    """Tensors and metadata in one safetensors file.

    It contains no pickle, so loading a file from an unknown source cannot run code.
    """

    def load(self) -> TensorsAndMetadata:
        """Read tensors (onto the CPU) and metadata.

        Raises:
            DatasetError: if the file is missing, truncated, or not written by this class.
        """
        place = self._existing("run the pipeline that makes it first")
        with downloaded(self._fs, self._protocol, self._get_load_path()) as path:
            tensors, header = _read(path, place)
        return {"tensors": tensors, "metadata": _parse_metadata(place, header)}

    def save(self, data: TensorsAndMetadata) -> None:
        """Write tensors and metadata to a temporary file, and move it on success.

        Raises:
            DatasetError: if `data` is not tensors by name and JSON values.
        """
        tensors, metadata = _checked(self._filepath, data)
        with self._written() as path:
            write_tensors(path, tensors, metadata)


def _read(path: Path, place: str) -> "tuple[dict[str, Tensor], dict[str, str]]":
    try:
        return read_tensors(path)
    except (SafetensorError, OSError) as error:
        raise DatasetError(
            f"{place} is damaged or not a safetensors file ({one_line(error)}); delete it and run "
            "the pipeline that makes it again"
        ) from error


def _checked(path: PurePosixPath, data: TensorsAndMetadata) -> "tuple[dict[str, Tensor], str]":
    from torch import Tensor

    if not isinstance(data, dict) or set(data) != {"tensors", "metadata"}:
        raise DatasetError(f"Not saved to {path}; save {{'tensors': …, 'metadata': …}}")
    others = [str(name) for name, value in data["tensors"].items() if not isinstance(value, Tensor)]
    if others:
        raise DatasetError(f"Not saved to {path}, as {', '.join(others)} are not tensors")
    try:
        metadata = json.dumps(data["metadata"], allow_nan=False)
    except (TypeError, ValueError) as error:
        raise DatasetError(
            f"Not saved to {path}, as the metadata cannot be written as JSON ({one_line(error)})"
        ) from error
    return data["tensors"], metadata


def _parse_metadata(path: str, header: dict[str, str]) -> dict[str, Any]:
    try:
        metadata = json.loads(header[METADATA_KEY])
    except (KeyError, json.JSONDecodeError) as error:
        raise DatasetError(
            f"{path} was not written by this project, as its header has no metadata; use a file "
            "that this project wrote"
        ) from error
    if not isinstance(metadata, dict):
        raise DatasetError(f"{path} is damaged, as its metadata is not a mapping; delete it")
    return metadata
