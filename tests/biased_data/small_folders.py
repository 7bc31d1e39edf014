"""Folders of small images, and the data set that is made of one."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from debias_pipeline.biased_data import BiasedData, get_dataset
from debias_pipeline.biased_data.sets.folder import FolderOptions
from debias_pipeline.errors import UserError

# A GIF declares its size in six bytes.
GIF_OF_100_MEGAPIXELS = b"GIF89a" + b"\x10\x27" * 2 + b"\0\0\0," + bytes(20)
LABELS, BIASES = ("camel", "cow"), ("grass", "sand")


def write_image(path: Path, kind: str, value: int, size: tuple[int, int]) -> Path:
    """Write an image that a viewer shows in one colour, (value, value, value)."""
    suffix = {"jpg": "jpg", "turned": "jpg", "gif": "gif", "webp": "webp", "bmp": "bmp"}
    path = path.with_suffix(f".{suffix.get(kind, 'png')}")
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("RGB", size, (value,) * 3)
    if kind == "grey":
        image = image.convert("L")
    elif kind == "palette":
        image = image.quantize(4)
    elif kind == "deep":
        image = Image.fromarray(np.full(size[::-1], value * 257, np.uint16))
    elif kind == "alpha":
        # What shines through is white.
        image = Image.new("RGBA", size, (0, 0, 0, 255 - value))
    exif = Image.Exif()
    exif[0x0112] = 6 if kind == "turned" else 1
    image.save(path, exif=exif, **({"lossless": True} if kind == "webp" else {}))
    return path


def rows_of(n: int = 40, **columns: Sequence[object]) -> list[dict[str, object]]:
    """Rows of a table; the values of `columns` are repeated as often as needed."""
    columns = {"label": LABELS, "bias": BIASES, **columns}
    return [
        {"path": f"images/{i}.png"}
        | {name: values[i % len(values)] for name, values in columns.items()}
        for i in range(n)
    ]


def put(raw_dir: Path, rows, name: str = "table.csv") -> Path:
    frame = pd.DataFrame(rows)
    if name.endswith(".parquet"):
        frame.to_parquet(raw_dir / name)
    else:
        separator = "\t" if ".tsv" in name.lower() else ","
        frame.to_csv(raw_dir / name, index=False, sep=separator)
    return raw_dir


def build(raw_dir: Path, seed: int = 0, **options) -> BiasedData:
    return get_dataset("folder").build("2pct", raw_dir, seed, FolderOptions(**options))


def refusal(raw_dir: Path, **options) -> str:
    with pytest.raises(UserError) as caught:
        build(raw_dir, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message
