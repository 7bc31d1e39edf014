"""A process that is killed while it decodes images leaves what the next one continues with."""

import os
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
decoding.decode_images(sorted(Path(sys.argv[1]).iterdir()), {}, name="faces")
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


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "pwrite"), reason="needs a POSIX system")
def test_decoding_continues_after_a_kill_with_the_same_bits(paths, tmp_path, monkeypatch):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(partial_array.tempfile, "tempdir", str(temporary))
    expected = decoding.decode_images(paths, {}, name="faces")
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
    images = decoding.decode_images(paths, {}, name="faces")
    np.testing.assert_array_equal(images, expected)
    assert len(opened) == 200 - done
    # Without a reference, nothing remains.
    del images
    assert not [*temporary.iterdir()]


def recorded(folder: Path) -> int:
    files = [*folder.glob("debias-images-*")]
    return int.from_bytes(files[0].read_bytes()[-8:], "little") if files else 0


def test_files_that_changed_are_decoded_from_the_start(paths, tmp_path, monkeypatch):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(partial_array.tempfile, "tempdir", str(temporary))
    monkeypatch.setattr(partial_array, "MAX_IN_MEMORY", 0)
    few, shape = paths[:20], (20, 20, 24, 3)

    def opened() -> partial_array.PartialArray:
        key = partial_array.sources_key(few, shape)
        return partial_array.PartialArray.open(shape, "faces", key)

    opened().record(12)
    continued = opened()
    assert continued.complete == 12
    # Another process that decodes the same files meanwhile has an array of its own.
    assert opened().complete == 0
    del continued
    os.utime(few[3], (1, 1))
    assert opened().complete == 0
    assert len([*temporary.iterdir()]) == 1
