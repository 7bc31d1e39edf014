import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from kedro.io import DataCatalog, DatasetError

from debias_pipeline.checksum import ImagesChecksum
from debias_pipeline.io import ImageArrayDataset, image_array_dataset

IMAGES = np.arange(2 * 4 * 5 * 3, dtype=np.uint8).reshape(2, 4, 5, 3)
shapes = st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 4), st.just(3))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("images")


@settings(max_examples=20)
@given(images=hnp.arrays(np.uint8, shapes))
def test_round_trip(folder, images):
    dataset = ImageArrayDataset(folder / "images.npy")
    dataset.save(images)
    assert np.array_equal(dataset.load(), images)
    assert [path.name for path in folder.iterdir()] == ["images.npy"]


def test_load_is_a_read_only_memory_map(tmp_path):
    dataset = ImageArrayDataset(str(tmp_path / "deep" / "images.npy"))
    assert not dataset.exists()
    dataset.save(IMAGES)
    assert dataset.exists()
    loaded = dataset.load()
    assert isinstance(loaded, np.memmap)
    assert not loaded.flags.writeable


def test_strided_views_are_saved_in_order(tmp_path):
    dataset = ImageArrayDataset(tmp_path / "images.npy")
    dataset.save(IMAGES[:, ::2, ::-1])
    assert np.array_equal(dataset.load(), IMAGES[:, ::2, ::-1])


@pytest.mark.parametrize("mode", ["r", "r+", "c"])
def test_memory_maps_are_copied_in_pieces(tmp_path, monkeypatch, mode):
    monkeypatch.setattr(image_array_dataset, "_CHUNK_BYTES", 100)
    images = np.random.default_rng(0).integers(0, 256, (41, 4, 5, 3), dtype=np.uint8)
    images.tofile(tmp_path / "source")
    mapped = np.memmap(tmp_path / "source", np.uint8, mode=mode, shape=images.shape)
    if mode != "r":
        mapped[7] = 9
        images[7] = 9
    dataset = ImageArrayDataset(tmp_path / "images.npy")
    dataset.save(mapped)
    assert np.array_equal(dataset.load(), images)
    assert np.array_equal(mapped, images)
    dataset.save(mapped[::-2])
    assert np.array_equal(np.load(tmp_path / "images.npy"), images[::-2])


def test_file_is_what_numpy_itself_would_write(tmp_path):
    ImageArrayDataset(tmp_path / "images.npy").save(np.asfortranarray(IMAGES))
    np.save(tmp_path / "numpy.npy", IMAGES)
    assert (tmp_path / "images.npy").read_bytes() == (tmp_path / "numpy.npy").read_bytes()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (IMAGES.astype(np.float32), "float32"),
        (IMAGES[0], "4 x 5 x 3"),
        (IMAGES[..., :1], "2 x 4 x 5 x 1"),
        (IMAGES[:0], "0 x 4 x 5 x 3"),
        (np.zeros((), np.uint8), "shape \\(\\)"),
        ([1, 2], "is a list"),
    ],
)
def test_anything_else_is_refused(tmp_path, data, message):
    with pytest.raises(DatasetError, match=message) as caught:
        ImageArrayDataset(tmp_path / "images.npy").save(data)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_failed_save_leaves_the_old_file_whole(tmp_path, monkeypatch):
    dataset = ImageArrayDataset(tmp_path / "images.npy")
    dataset.save(IMAGES)

    def run_full(images):
        yield images[:1]
        raise OSError("No space left on device")

    monkeypatch.setattr(image_array_dataset, "_pieces", run_full)
    with pytest.raises(DatasetError, match="No space left"):
        dataset.save(IMAGES)
    assert [path.name for path in tmp_path.iterdir()] == ["images.npy"]
    assert np.array_equal(dataset.load(), IMAGES)


@pytest.mark.parametrize("keep", [0, 4, 60, 200])
def test_truncated_file_is_told_in_one_line(tmp_path, keep):
    path = tmp_path / "images.npy"
    ImageArrayDataset(path).save(IMAGES)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DatasetError, match="damaged") as caught:
        ImageArrayDataset(path).load()
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_pickles_and_other_arrays_are_refused(tmp_path):
    path = tmp_path / "images.npy"
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(DatasetError, match="damaged"):
        ImageArrayDataset(path).load()
    np.save(path, IMAGES.astype(np.int32))
    with pytest.raises(DatasetError, match="int32"):
        ImageArrayDataset(path).load()


def test_missing_file_names_the_pipeline(tmp_path):
    with pytest.raises(DatasetError, match="run the ingestion pipeline"):
        ImageArrayDataset(tmp_path / "images.npy").load()


def test_reads_from_the_catalog(tmp_path):
    entry = {
        "type": "debias_pipeline.io.ImageArrayDataset",
        "filepath": str(tmp_path / "images.npy"),
    }
    catalog = DataCatalog.from_config({"images": entry})
    catalog.save("images", IMAGES)
    assert np.array_equal(catalog.load("images"), IMAGES)
    assert "images.npy" in str(catalog["images"])


# --- Images that several data cards share -------------------------------------------------------


class Shared:
    """Images with the data cards of two choices of the bias."""

    def __init__(self, folder: Path) -> None:
        self.left, self.right = (
            ImageArrayDataset(
                folder / "images.npy", data_card={"filepath": str(folder / choice / "card.json")}
            )
            for choice in ("left", "right")
        )
        self.folder = folder

    def save(self, choice: str, images: np.ndarray) -> None:
        """Save images and a data card, as ingestion does."""
        getattr(self, choice).save(images)
        checksum = ImagesChecksum(images.shape)
        checksum.add(images)
        (self.folder / choice).mkdir(exist_ok=True)
        card = self.folder / choice / "card.json"
        card.write_text(json.dumps({"images_hash": str(checksum)}))


@pytest.fixture
def shared(tmp_path):
    both = Shared(tmp_path)
    both.save("left", IMAGES)
    return both


def test_images_that_another_choice_has_saved_again_unchanged_are_read(shared):
    shared.save("right", IMAGES)
    assert np.array_equal(shared.left.load(), IMAGES)
    assert np.array_equal(shared.right.load(), IMAGES)


def test_images_that_another_choice_has_replaced_are_not_read(shared):
    before = shared.left.load()
    shared.save("right", IMAGES + 1)
    with pytest.raises(DatasetError, match=r"images\.npy.*left.*run the ingestion pipeline again"):
        shared.left.load()
    assert np.array_equal(shared.right.load(), IMAGES + 1)
    assert np.array_equal(before, IMAGES)
    assert shared.left.exists()


@pytest.mark.parametrize("name", ["images.json", "left/card.json"])
@pytest.mark.parametrize("content", [None, "", "{}", "[]"])
def test_images_and_data_cards_without_a_hash_are_read(shared, name, content):
    shared.save("right", IMAGES + 1)
    (shared.folder / name).unlink()
    if content is not None:
        (shared.folder / name).write_text(content)
    assert np.array_equal(shared.left.load(), IMAGES + 1)


def test_images_of_which_a_save_failed_keep_their_labels(shared, monkeypatch):
    def run_full(images):
        yield images[:1]
        raise OSError("No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(image_array_dataset, "_pieces", run_full)
        with pytest.raises(DatasetError, match="No space left"):
            shared.right.save(IMAGES + 1)
    assert np.array_equal(shared.left.load(), IMAGES)
