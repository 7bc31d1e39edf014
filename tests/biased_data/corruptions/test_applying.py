"""What every corruption promises, in whatever batch an image comes."""

import os

import numpy as np
import pytest
from small_images import N, plain, rng

from debias_pipeline.biased_data.corruptions import (
    CORRUPTION_NAMES,
    SEVERITIES,
    SHEET_GAP,
    applying,
    contact_sheet,
    corrupt,
    corrupt_each,
)


@pytest.mark.parametrize("name", CORRUPTION_NAMES)
def test_every_severity_changes_every_image_and_a_batch_equals_its_images_one_by_one(images, name):
    for severity in SEVERITIES:
        before, generator = images.copy(), rng(3)
        corrupted = corrupt(images, name, severity, rng(3))
        assert corrupted.dtype == np.uint8
        assert np.array_equal(images, before)
        assert all((was != now).any() for was, now in zip(images, corrupted, strict=True))
        for row in range(N):
            alone = corrupt(images[row : row + 1], name, severity, generator)
            assert np.array_equal(corrupted[row], alone[0])


@pytest.mark.parametrize("name", ["snow", "frost", "fog", "spatter", "elastic"])
def test_seed_decides_and_equal_images_are_corrupted_differently(images, name):
    first = corrupt(images, name, 4, rng(1))
    assert np.array_equal(first, corrupt(images, name, 4, rng(1)))
    assert not np.array_equal(first, corrupt(images, name, 4, rng(2)))
    ramp = np.linspace(0, 255, 32 * 32 * 3).reshape(1, 32, 32, 3).astype(np.uint8)
    one, other = corrupt(np.repeat(ramp, 2, axis=0), name, 4, rng())
    assert not np.array_equal(one, other)


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


def test_what_is_no_image_severity_or_corruption_is_refused(images):
    for severity in (0, 6, -1, 2.5):
        with pytest.raises(ValueError, match="severity"):
            corrupt(images, "fog", severity, rng())
    with pytest.raises(ValueError, match="choose one of snow, frost"):
        corrupt(images, "hail", 1, rng())
    with pytest.raises(ValueError, match="uint8"):
        corrupt(images.astype(float), "fog", 1, rng())
    with pytest.raises(ValueError, match="32 x 32"):
        corrupt(images[:, :16], "fog", 1, rng())
    with pytest.raises(ValueError, match="Kinds"):
        corrupt_each(images.copy(), np.full(N, 10), 1, rng())


def test_contact_sheet_shows_all(images):
    sheet = contact_sheet(images[:2], seed=0)
    pitch = 32 + SHEET_GAP
    assert sheet.dtype == np.uint8
    assert sheet.shape == (10 * pitch - SHEET_GAP, 12 * pitch - SHEET_GAP, 3)
    for row in range(10):
        for which in range(2):
            cell = sheet[row * pitch :, which * 6 * pitch :][:32, :32]
            assert np.array_equal(cell, images[which])
    jpeg = sheet[7 * pitch :, (6 + 4) * pitch :][:32, :32]
    assert np.array_equal(jpeg, corrupt(images[1:2], "JPEG", 4, rng())[0])
    assert (sheet[32 : 32 + SHEET_GAP] == 255).all()
    assert np.array_equal(sheet, contact_sheet(images[:2], seed=0))
