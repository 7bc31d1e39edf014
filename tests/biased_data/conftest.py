"""Small raw data of every kind, made on the spot."""

import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_folders import write_image

TRAIN_IMAGES = 240
TEST_IMAGES = 60


def idx_bytes(array: np.ndarray) -> bytes:
    header = bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(np.uint8).tobytes()


def grey_digits(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    grey = rng.integers(0, 256, size=(n, 6, 5), dtype=np.uint8)
    grey[:, 0] = 0
    grey[:, 1] = 255
    return grey, np.arange(n) % 10


def write_mnist(raw_dir: Path, *, zipped: bool = False) -> Path:
    folder = raw_dir / "MNIST" / "raw"
    folder.mkdir(parents=True, exist_ok=True)
    for prefix, n in (("train", TRAIN_IMAGES), ("t10k", TEST_IMAGES)):
        grey, label = grey_digits(n, seed=n)
        for kind, array in (("images-idx3", grey), ("labels-idx1", label)):
            name = f"{prefix}-{kind}-ubyte"
            if zipped:
                (folder / f"{name}.gz").write_bytes(gzip.compress(idx_bytes(array)))
            else:
                (folder / name).write_bytes(idx_bytes(array))
    return raw_dir


def write_png(path: Path, value: int = 0, size: tuple[int, int] = (5, 6)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value, 0, 255 - value)).save(path)


def write_published(raw_dir: Path, percent: str = "2pct", name: str = "cmnist") -> Path:
    """Thirty aligned, five conflicting, six valid (flat), seven test images (class folders)."""
    folder = raw_dir / name
    for i in range(30):
        write_png(folder / percent / "align" / str(i % 10) / f"{i}_{i % 10}_{i % 10}.png", i)
    for i in range(5):
        write_png(folder / percent / "conflict" / str(i) / f"{i}_{i}_{i + 1}.png", 100 + i)
    for i in range(6):
        write_png(folder / percent / "valid" / f"{i}_{i}_{0}.png", 150 + i)
    for i in range(7):
        write_png(folder / "test" / str(i) / f"{i}_{i}_{9 - i}.png", 200 + i)
    return folder


@pytest.fixture
def mnist_dir(tmp_path: Path) -> Path:
    return write_mnist(tmp_path / "raw")


@pytest.fixture
def published_dir(tmp_path: Path) -> Path:
    write_published(tmp_path / "raw")
    return tmp_path / "raw"


@pytest.fixture
def make_png() -> Callable[..., None]:
    return write_png


@pytest.fixture
def make_published() -> Callable[..., Path]:
    return write_published


@pytest.fixture
def make_mnist() -> Callable[..., Path]:
    return write_mnist


@pytest.fixture
def small_dir(tmp_path) -> Path:
    """Forty 8 × 6 images in small/, without a table."""
    for i in range(40):
        write_image(tmp_path / "small" / "images" / f"{i}", "png", i, (8, 6))
    return tmp_path / "small"
