"""Tensors with what is to be known about them, in one file that can be opened without trust."""

import json
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final, TypedDict

from kedro.io import AbstractVersionedDataset, DatasetError, Version
from safetensors import SafetensorError, safe_open

from debias_pipeline.io.atomic import replacing

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


class SafetensorsDataset(AbstractVersionedDataset[TensorsAndMetadata, TensorsAndMetadata]):
    """Tensors and metadata in one safetensors file on a local disk.

    No pickle anywhere: a checkpoint from a stranger can hold wrong numbers but no code.
    """

    def __init__(
        self,
        filepath: str | Path | PurePosixPath,
        version: Version | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        """Point to a file.

        Args:
            filepath: of the .safetensors file; local.
            version: given by Kedro where the catalog says `versioned: true`.
            metadata: of the catalog entry, for plugins; not what is saved.

        Raises:
            DatasetError: if the path is not local.
        """
        if "://" in str(filepath):
            raise DatasetError(f"SafetensorsDataset needs a local path, not {filepath}.")
        self.metadata = metadata
        super().__init__(filepath=PurePosixPath(Path(filepath).as_posix()), version=version)

    def load(self) -> TensorsAndMetadata:
        """Read tensors (onto the CPU) and metadata.

        Raises:
            DatasetError: if the file is missing, truncated, or not written by this type.
        """
        path = Path(self._get_load_path())
        if not path.is_file():
            raise DatasetError(f"{path} does not exist: run the pipeline that makes it first.")
        try:
            with safe_open(path, framework="pt", device="cpu") as file:
                header = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise DatasetError(
                f"{path} is damaged or no safetensors file ({_one_line(error)}): delete it and run "
                f"the pipeline that makes it again."
            ) from error
        return {"tensors": tensors, "metadata": _parse_metadata(path, header)}

    def save(self, data: TensorsAndMetadata) -> None:
        """Write tensors and metadata; the file appears whole or not at all.

        Raises:
            DatasetError: if `data` is anything but tensors by name and plain JSON values.
        """
        # Both are slow to import, and whoever only lists the catalog needs neither.
        from safetensors.torch import save_file
        from torch import contiguous_format

        path = Path(self._get_save_path())
        tensors, metadata = _checked(path, data)
        # Views of one storage are legal in memory but not in the file, hence the copies.
        copies = {
            name: tensor.detach().cpu().clone(memory_format=contiguous_format)
            for name, tensor in tensors.items()
        }
        with replacing(path) as temporary:
            save_file(copies, temporary, metadata={_METADATA_KEY: metadata})

    def _exists(self) -> bool:
        return Path(self._get_load_path()).is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._filepath, "version": self._version}


def _checked(path: Path, data: TensorsAndMetadata) -> "tuple[dict[str, Tensor], str]":
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
            f"Not saved to {path}: the metadata is not plain JSON ({_one_line(error)})."
        ) from error
    return data["tensors"], metadata


def _parse_metadata(path: Path, header: dict[str, str]) -> dict[str, Any]:
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


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
