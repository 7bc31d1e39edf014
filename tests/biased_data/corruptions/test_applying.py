"""What every corruption promises, in whatever batch an image comes."""

import os

import numpy as np
import pytest
from small_images import N, plain, rng

from debias_pipeline.biased_data.corruptions import (
    CORRUPTION_NAMES,
    SEVERITIES,
    applying,
    corrupt,
    corrupt_each,
)


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("name", CORRUPTION_NAMES)
def test_keeps_shape_type_and_input_and_changes_something(images, name, severity):
    before = images.copy()
    corrupted = corrupt(images, name, severity, rng())
    assert corrupted.shape == images.shape
    assert corrupted.dtype == np.uint8
    assert np.array_equal(images, before)
    assert all((was != now).any() for was, now in zip(images, corrupted, strict=True))


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("name", CORRUPTION_NAMES)
def test_a_batch_equals_its_images_one_by_one(images, name, severity):
    generator = rng(3)
    singly = np.concatenate(
        [corrupt(images[row : row + 1], name, severity, generator) for row in range(N)]
    )
    assert np.array_equal(corrupt(images, name, severity, rng(3)), singly)


@pytest.mark.parametrize("name", ["snow", "frost", "fog", "spatter", "elastic"])
def test_seed_decides(images, name):
    first = corrupt(images, name, 4, rng(1))
    assert np.array_equal(first, corrupt(images, name, 4, rng(1)))
    assert not np.array_equal(first, corrupt(images, name, 4, rng(2)))


@pytest.mark.parametrize("name", ["snow", "frost", "fog", "spatter", "elastic"])
def test_equal_images_are_corrupted_differently(name):
    ramp = np.linspace(0, 255, 32 * 32 * 3).reshape(1, 32, 32, 3).astype(np.uint8)
    first, second = corrupt(np.repeat(ramp, 2, axis=0), name, 4, rng())
    assert not np.array_equal(first, second)


def test_mixture_depends_on_neither_chunks_nor_threads(images, monkeypatch):
    kinds = np.arange(10).repeat(4)
    clean = images[np.arange(40) % N]
    first = clean.copy()
    corrupt_each(first, kinds, 4, rng())
    monkeypatch.setattr(applying, "_CHUNK", 3)
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    second = clean.copy()
    corrupt_each(second, kinds, 4, rng())
    assert np.array_equal(first, second)


def test_mixture_gives_each_image_its_own(images):
    mixed = images.copy()
    corrupt_each(mixed, np.array([3, 4, 7, 8, 9, 3]), 2, rng())
    for row, name in enumerate(["brightness", "contrast", "JPEG", "pixelate", "saturate"]):
        assert np.array_equal(mixed[row], corrupt(images, name, 2, rng())[row])


def test_no_images_are_no_trouble():
    for name in CORRUPTION_NAMES:
        assert corrupt(plain(0, n=0), name, 1, rng()).shape == (0, 32, 32, 3)


@pytest.mark.parametrize("severity", [0, 6, -1, 2.5])
def test_severity_must_be_1_to_5(images, severity):
    with pytest.raises(ValueError, match="severity"):
        corrupt(images, "fog", severity, rng())


def test_what_is_no_image_or_corruption_is_refused(images):
    with pytest.raises(ValueError, match="choose one of snow, frost"):
        corrupt(images, "hail", 1, rng())
    with pytest.raises(ValueError, match="uint8"):
        corrupt(images.astype(float), "fog", 1, rng())
    with pytest.raises(ValueError, match="32 x 32"):
        corrupt(images[:, :16], "fog", 1, rng())
    with pytest.raises(ValueError, match="Kinds"):
        corrupt_each(images.copy(), np.full(N, 10), 1, rng())
