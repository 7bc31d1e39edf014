"""A process that is killed while it decodes images leaves what the next one continues with."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from debias_pipeline.biased_data.sources import decoding, partial_array

# Decodes slowly, so that it can be killed in between.
SLOWLY = """
import sys, time
from pathlib import Path
from debias_pipeline.biased_data.sources import decoding, partial_array
partial_array.MAX_IN_MEMORY = 0
decoding._CHUNK, decoding._CHUNKS_PER_RECORD = 8, 2
plain = decoding._pixels
decoding._pixels = lambda *given: (time.sleep(0.05), plain(*given))[1]
decoding.decode_images(sorted(Path(sys.argv[1]).iterdir()), {}, source=Path(sys.argv[1]))
"""


@pytest.fixture
def paths(tmp_path) -> list[Path]:
    """200 JPEG files of random pixels."""
    folder = tmp_path / "faces"
    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(200):
        pixels = random.integers(0, 256, (20, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:03}.jpg")
    return sorted(folder.iterdir())


@pytest.fixture
def temporary(tmp_path, monkeypatch) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(partial_array.tempfile, "tempdir", str(folder))
    return folder


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "pwrite"), reason="needs a POSIX system")
def test_decoding_continues_after_a_kill_with_the_same_bits(paths, temporary, monkeypatch):
    expected = decoding.decode_images(paths, {})
    command = [sys.executable, "-c", SLOWLY, str(paths[0].parent)]
    process = subprocess.Popen(command, env={**os.environ, "TMPDIR": str(temporary)})
    until = time.monotonic() + 60
    while recorded(temporary) < 16 and time.monotonic() < until:
        time.sleep(0.02)
    process.kill()
    process.wait()
    done = recorded(temporary)
    assert 16 <= done < 200

    monkeypatch.setattr(partial_array, "MAX_IN_MEMORY", 0)
    opened, plain = [], decoding._pixels
    monkeypatch.setattr(
        decoding, "_pixels", lambda *given: (opened.append(given), plain(*given))[1]
    )
    images = decoding.decode_images(paths, {}, source=paths[0].parent)
    np.testing.assert_array_equal(images, expected)
    assert len(opened) == 200 - done
    # Without a reference, nothing remains.
    del images
    assert not [*temporary.iterdir()]


def recorded(folder: Path) -> int:
    files = [*folder.glob("debias-images-*")]
    return sum(files[0].read_bytes()[-200:]) if files else 0


@pytest.fixture
def stop_at(paths, monkeypatch):
    """A function that makes the image of a row raise an error; all arrays are in files."""
    monkeypatch.setattr(partial_array, "MAX_IN_MEMORY", 0)
    monkeypatch.setattr(decoding, "_CHUNK", 8)
    monkeypatch.setattr(decoding, "_CHUNKS_PER_RECORD", 2)
    plain = decoding._pixels

    def stop_at(row: int, error: type[BaseException]) -> None:
        def pixels(image, *given):
            if image.filename == str(paths[row]):
                raise error
            return plain(image, *given)

        monkeypatch.setattr(decoding, "_pixels", pixels)

    return stop_at


@pytest.mark.skipif(not hasattr(os, "pwrite"), reason="needs a POSIX system")
def test_an_interrupted_run_is_continued_and_bad_files_are_reported_again(
    paths, temporary, stop_at, monkeypatch, caplog
):
    expected = decoding.decode_images(paths, {})
    paths[3].write_bytes(b"no image")
    plain = decoding._pixels
    stop_at(100, KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        decoding.decode_images(paths, {}, source=paths[0].parent)
    (left,) = temporary.iterdir()
    assert str(left) in caplog.text
    # Eight of a chunk: of 96 images before that of row 100, one is bad.
    assert recorded(temporary) == 95

    decoded = []
    monkeypatch.setattr(
        decoding, "_pixels", lambda *given: (decoded.append(given), plain(*given))[1]
    )
    bad: dict[int, str] = {}
    images = decoding.decode_images(paths, bad, source=paths[0].parent)
    assert {*bad} == {3}
    assert len(decoded) == 199 - 95
    good = np.arange(200) != 3
    np.testing.assert_array_equal(images[good], expected[good])


@pytest.mark.parametrize(
    ("error", "has_source"), [(RuntimeError, True), (KeyboardInterrupt, False)]
)
def test_nothing_is_left_after_an_error_or_of_files_without_a_source(
    paths, temporary, stop_at, error, has_source
):
    stop_at(100, error)
    with pytest.raises(error):
        decoding.decode_images(paths, {}, source=paths[0].parent if has_source else None)
    assert not [*temporary.iterdir()]


@pytest.mark.skipif(not hasattr(os, "pwrite"), reason="needs a POSIX system")
def test_images_are_decoded_even_if_progress_cannot_be_recorded(
    paths, temporary, stop_at, monkeypatch, caplog
):
    def no_space(*_):
        raise OSError(28, "No space left on device")

    expected = decoding.decode_images(paths, {})
    monkeypatch.setattr(partial_array.os, "pwrite", no_space)
    images = decoding.decode_images(paths, {}, source=paths[0].parent)
    np.testing.assert_array_equal(images, expected)
    assert caplog.text.count("No space left on device") == 1


def opened(paths: list[Path]) -> partial_array.PartialArray:
    shape = (len(paths), 20, 24, 3)
    return partial_array.PartialArray.open(shape, paths, name="faces", source=paths[0].parent)


@pytest.fixture
def few(paths, temporary, monkeypatch) -> list[Path]:
    """Files of an array of which an earlier run has left the first 12 images."""
    monkeypatch.setattr(partial_array, "MAX_IN_MEMORY", 0)
    left = opened(paths[:20])
    left.is_complete[:12] = True
    left.record()
    return paths[:20]


def test_files_that_changed_are_decoded_from_the_start(few, temporary):
    continued = opened(few)
    assert continued.is_complete.sum() == 12
    # Another process that decodes the same files meanwhile has an array of its own.
    assert not opened(few).is_complete.any()
    del continued
    os.utime(few[3], (1, 1))
    assert not opened(few).is_complete.any()
    assert len([*temporary.iterdir()]) == 1


def test_files_of_another_folder_with_the_same_names_sizes_and_times_are_decoded(few, tmp_path):
    shutil.copytree(few[0].parent, tmp_path / "others")
    assert not opened([tmp_path / "others" / path.name for path in few]).is_complete.any()
    assert not opened(few).is_complete.any()
