"""Tensors with what is to be known about them, in one file that can be opened without trust."""

import json
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final, TypedDict

from kedro.io import DatasetError
from safetensors import SafetensorError, safe_open

from debias_pipeline.errors import one_line
from debias_pipeline.io.file_dataset import FileDataset
from debias_pipeline.io.storage import downloaded

if TYPE_CHECKING:
    from torch import Tensor

# The header of a safetensors file maps text to text, so all metadata goes under one key as JSON.
_METADATA_KEY: Final = "metadata"


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
        # Both are slow to import, and whoever only lists the catalog needs neither.
        from safetensors.torch import save_file
        from torch import contiguous_format

        tensors, metadata = _checked(self._filepath, data)
        # Views of one storage are legal in memory but not in the file, hence the copies.
        copies = {
            name: tensor.detach().cpu().clone(memory_format=contiguous_format)
            for name, tensor in tensors.items()
        }
        with self._written() as path:
            path.touch()
            mode = path.stat().st_mode
            save_file(copies, path, metadata={_METADATA_KEY: metadata})
            # safetensors replaces the file by a temporary one that only its owner may read.
            path.chmod(mode)


def _read(path: Path, place: str) -> "tuple[dict[str, Tensor], dict[str, str]]":
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            header = file.metadata() or {}
            return {name: file.get_tensor(name) for name in file.keys()}, header  # noqa: SIM118
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
        metadata = json.loads(header[_METADATA_KEY])
    except (KeyError, json.JSONDecodeError) as error:
        raise DatasetError(
            f"{path} was not written by this project (its header holds no metadata): point to one "
            f"of the project's own files."
        ) from error
    if not isinstance(metadata, dict):
        raise DatasetError(f"{path} is damaged: its metadata is no mapping; delete it.")
    return metadata
