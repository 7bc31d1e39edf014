import numpy as np
import pytest
from PIL import Image

from debias_pipeline.biased_data import BiasedData, get_dataset
from debias_pipeline.biased_data.manifest import Manifest
from debias_pipeline.biased_data.sources import decoding, partial_array
from debias_pipeline.errors import UserError

RNG = np.random.default_rng(0)


@pytest.fixture
def faces_dir(tmp_path):
    """Forty aligned, four conflicting, eight valid, twelve test images of 16 × 16."""
    folder = tmp_path / "raw" / "bffhq"

    places = [f"0.5pct/align/{i % 2}/{i}_{i % 2}_{i % 2}.png" for i in range(40)]
    places += [f"0.5pct/conflict/{i % 2}/{i}_{i % 2}_{1 - i % 2}.png" for i in range(4)]
    places += [f"valid/{i}_{i % 2}_{i // 2 % 2}.png" for i in range(8)]
    places += [f"test/{i}_{i % 2}_{i // 2 % 2}.png" for i in range(12)]
    for place in places:
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        pixels = RNG.integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / place)
    return tmp_path / "raw"


def build(raw_dir, percent="0.5pct") -> BiasedData:
    return get_dataset("bffhq").build(percent, raw_dir, 0)


def test_published_set_is_read(faces_dir):
    data = build(faces_dir)
    Manifest.validate(data.manifest)
    card = data.data_card
    assert card["headline"] == "conflicting_accuracy"
    assert (card["label_names"], card["bias_names"]) == (["young", "old"], ["female", "male"])
    assert card["image_shape"] == [16, 16, 3]
    assert [card["splits"][name]["images"] for name in ("train", "valid", "test")] == [44, 8, 12]
    assert [card["splits"][name]["conflicting"] for name in ("train", "valid", "test")] == [4, 4, 6]
    for row in data.manifest.itertuples():
        with Image.open(faces_dir / row.source) as image:
            assert np.array_equal(np.asarray(image), data.images[row.image_id])


def test_a_large_set_is_a_memory_map_with_the_same_images(faces_dir, monkeypatch):
    small = build(faces_dir)
    monkeypatch.setattr(partial_array, "MAX_IN_MEMORY", 1000)
    monkeypatch.setattr(decoding, "_CHUNK", 3)
    large = build(faces_dir)
    assert isinstance(large.images, np.memmap)
    assert not isinstance(small.images, np.memmap)
    assert np.array_equal(large.images, small.images)
    assert large.manifest.equals(small.manifest)
    monkeypatch.setattr(
        partial_array.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 10})
    )
    with pytest.raises(UserError, match=r"\A.*set TMPDIR.*\Z"):
        build(faces_dir)


def test_what_is_missing_says_where_to_get_it(tmp_path):
    (tmp_path / "other.txt").touch()
    with pytest.raises(UserError, match=r"\A.*Lee et al.*bffhq/0.5pct/align.*\Z"):
        build(tmp_path)


def test_valid_within_the_percent_folder_is_read_too_and_a_third_label_refused(faces_dir):
    whole = build(faces_dir)
    (faces_dir / "bffhq/valid").rename(faces_dir / "bffhq/0.5pct/valid")
    assert np.array_equal(build(faces_dir).images, whole.images)
    Image.new("RGB", (16, 16)).save(faces_dir / "bffhq/test/99_2_0.png")
    with pytest.raises(UserError, match="label 2 is not below 2"):
        build(faces_dir)
