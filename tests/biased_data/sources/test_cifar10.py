import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import small_cifar10
import torchvision.datasets.cifar
from PIL import Image

from debias_pipeline.biased_data.sources.cifar10 import BATCHES, CLASS_NAMES, Cifar10, read_cifar10
from debias_pipeline.errors import UserError


def refusal(raw_dir: Path) -> str:
    with pytest.raises(UserError) as caught:
        read_cifar10(raw_dir)
    message = str(caught.value)
    assert "\n" not in message
    return message


def as_multiset(found: Cifar10) -> list[bytes]:
    return sorted(
        bytes([label]) + image.tobytes()
        for half in (found.train, found.test)
        for image, label in zip(half.images, half.label.tolist(), strict=True)
    )


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def offline(url, *_, **__):
        raise URLError("no route to host")

    monkeypatch.setattr(torchvision.datasets.cifar, "download_and_extract_archive", offline)


@pytest.fixture(scope="module")
def pristine(tmp_path_factory) -> Path:
    return small_cifar10.write_class_folders(tmp_path_factory.mktemp("pristine"))


@pytest.fixture
def folders(tmp_path, pristine) -> Path:
    return Path(shutil.copytree(pristine, tmp_path / "raw"))


@pytest.fixture
def batches(tmp_path, monkeypatch) -> Iterator[Path]:
    with monkeypatch.context() as patch:
        yield small_cifar10.write_batches(tmp_path / "torchvision", patch)


def test_class_folders(pristine):
    found = read_cifar10(pristine)
    assert found.train.images.shape == (200, 32, 32, 3)
    assert found.test.images.shape == (50, 32, 32, 3)
    assert found.train.images.dtype == np.uint8
    assert found.train.label.dtype == np.int16
    assert found.origin == "class folders of images"
    for half in (found.train, found.test):
        for image, label, source in zip(half.images, half.label, half.source, strict=True):
            assert Path(source).parts[1] == CLASS_NAMES[label]
            assert np.array_equal(np.asarray(Image.open(pristine / source)), image)


def test_jpeg_and_upper_case_names_are_read(folders):
    Image.new("RGB", (32, 32)).save(folders / "train/cat/x.jpg")
    Image.new("RGB", (32, 32)).save(folders / "train/cat/y.JPEG")
    Image.new("L", (32, 32)).save(folders / "train/cat/z.PNG")
    assert len(read_cifar10(folders).train.label) == 203


def test_torchvision_files(batches, pristine):
    found = read_cifar10(batches)
    assert found.origin == "torchvision's files"
    assert as_multiset(found) == as_multiset(read_cifar10(pristine))
    assert found.train.source[41] == f"{BATCHES}/data_batch_2#1"
    assert found.test.source[-1] == f"{BATCHES}/test_batch#49"


def test_torchvision_files_go_first(batches, pristine):
    shutil.copytree(pristine, batches, dirs_exist_ok=True)
    assert read_cifar10(batches).origin == "torchvision's files"


@pytest.mark.parametrize("name", ["data_batch_3", "test_batch", "batches.meta"])
def test_a_changed_pickle_is_never_loaded(batches, tmp_path, name):
    class Bomb:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "exploded",))

    (batches / BATCHES / name).write_bytes(pickle.dumps(Bomb()))
    message = refusal(batches)
    assert f"{name} missing or changed" in message
    assert "delete it" in message
    assert not (tmp_path / "exploded").exists()


def test_missing_and_truncated_batches_are_all_named(batches):
    (batches / BATCHES / "data_batch_1").unlink()
    path = batches / BATCHES / "test_batch"
    path.write_bytes(path.read_bytes()[:-1])
    assert "data_batch_1, test_batch missing or changed" in refusal(batches)


@pytest.mark.parametrize("suffix", [".tar", ".tar.xz", ".tar.gz", ".zip"])
@pytest.mark.parametrize("within", ["", "cifar10"])
def test_archive_of_class_folders(tmp_path, pristine, suffix, within):
    raw_dir = tmp_path / "raw"
    small_cifar10.pack(pristine, raw_dir / f"cifar10_png{suffix}", within)
    found = read_cifar10(raw_dir)
    assert as_multiset(found) == as_multiset(read_cifar10(pristine))
    inside = f"cifar10_png{suffix}/{within}".rstrip("/")
    assert found.origin == f"class folders of images in {inside}"
    assert found.train.source[0] == f"{inside}/train/airplane/0000.png"
    assert [path.name for path in raw_dir.iterdir()] == [f"cifar10_png{suffix}"]


def test_archive_of_torchvision_files(tmp_path, batches, pristine):
    raw_dir = tmp_path / "raw"
    small_cifar10.pack(batches, raw_dir / "cifar-10-python.tar.gz")
    found = read_cifar10(raw_dir)
    assert as_multiset(found) == as_multiset(read_cifar10(pristine))
    assert found.test.source[0] == f"cifar-10-python.tar.gz/{BATCHES}/test_batch#0"


def test_pickles_in_an_archive_are_not_trusted_more(tmp_path, batches):
    (batches / BATCHES / "data_batch_2").write_bytes(b"cos\nsystem\n")
    small_cifar10.pack(batches, tmp_path / "raw/cifar-10-python.tar.gz")
    assert "data_batch_2 missing or changed" in refusal(tmp_path / "raw")


def test_an_archive_is_told_by_its_name_or_by_being_alone(tmp_path, pristine):
    raw_dir = tmp_path / "raw"
    small_cifar10.pack(pristine, raw_dir / "photos.zip")
    assert "in photos.zip" in read_cifar10(raw_dir).origin
    for other in ("CIFAR-10-C.tar", "cifar100.zip", "cifar10c.zip", "cifar-10-binary.tar.gz"):
        (raw_dir / other).write_bytes(b"not read")
    assert "could not be downloaded" in refusal(raw_dir)
    (raw_dir / "photos.zip").rename(raw_dir / "CIFAR-10.zip")
    assert "in CIFAR-10.zip" in read_cifar10(raw_dir).origin


def test_two_archives_of_that_name_are_not_guessed_between(tmp_path, pristine):
    raw_dir = tmp_path / "raw"
    small_cifar10.pack(pristine, raw_dir / "cifar10.zip")
    small_cifar10.pack(pristine, raw_dir / "cifar10_old.zip")
    message = refusal(raw_dir)
    assert "cifar10.zip, cifar10_old.zip" in message
    assert "keep one" in message


def test_archive_of_something_else(tmp_path):
    raw_dir = tmp_path / "raw"
    (tmp_path / "else").mkdir()
    (tmp_path / "else/readme.txt").write_text("hello")
    small_cifar10.pack(tmp_path / "else", raw_dir / "cifar10.zip")
    assert "does not contain CIFAR-10" in refusal(raw_dir)
    (raw_dir / "cifar10.zip").rename(raw_dir / "photos.zip")
    assert "could not be downloaded" in refusal(raw_dir)


def test_unsafe_archive_is_refused(tmp_path, pristine):
    small_cifar10.pack(pristine, tmp_path / "raw/cifar10.tar", within="../outside")
    assert "outside" in refusal(tmp_path / "raw")
    assert not (tmp_path / "outside").exists()


def test_problems_in_an_archive_carry_its_name(tmp_path, folders):
    (folders / "train/dog/0003.png").write_bytes(b"")
    small_cifar10.pack(folders, tmp_path / "packed/cifar10.zip")
    message = refusal(tmp_path / "packed")
    assert str(tmp_path / "packed/cifar10.zip") in message
    assert "train/dog/0003.png: " in message


def test_all_problems_are_counted_and_ten_shown(folders):
    (folders / "train/cow").mkdir()
    (folders / "train/readme.txt").touch()
    shutil.rmtree(folders / "test/frog")
    (folders / "train/cat/notes.txt").touch()
    (folders / "train/cat/0000.png").write_bytes(b"")
    Image.new("RGB", (33, 32)).save(folders / "train/cat/0001.png")
    (folders / "train/bird/inner.png").mkdir()
    for number in range(5):
        (folders / f"test/ship/000{number}.png").write_bytes(b"x")
    message = refusal(folders)
    assert "has 12 problems: " in message
    assert "train/cow: is not one of the ten class folders; " in message
    assert "train/readme.txt: is not one of the ten class folders; " in message
    assert "train/cat/notes.txt: is not a .jpg or .png file; " in message
    assert "train/bird/inner.png: is not a .jpg or .png file; " in message
    assert "train/cat/0001.png: is 32x33, but 32x32 is expected; " in message
    assert "test/frog: no images; " in message
    assert "; and 2 more. " in message
    assert ", ".join(CLASS_NAMES) in message


def test_a_missing_half_is_told(folders):
    shutil.rmtree(folders / "test")
    assert "has 10 problems: test/airplane: no images" in refusal(folders)


def test_links_out_of_raw_dir_are_not_followed(tmp_path, folders):
    outside = tmp_path / "outside.png"
    Image.new("RGB", (32, 32)).save(outside)
    (folders / "train/cat/link.png").symlink_to(outside)
    assert "train/cat/link.png: leads out of raw_dir" in refusal(folders)


def test_failed_download_names_the_ways_out_and_leaves_nothing(tmp_path):
    message = refusal(tmp_path / "raw")
    for way in (BATCHES, "train/<class>/", "archive", "raw_dir=", "dataset=cmnist_mini"):
        assert way in message
    assert "no route to host" in message
    assert not list((tmp_path / "raw").iterdir())


def test_download_fills_raw_dir(tmp_path, batches, pristine, monkeypatch):
    def fetch(url, root, filename, md5):
        shutil.copytree(batches / BATCHES, Path(root) / BATCHES)
        (Path(root) / filename).touch()

    monkeypatch.setattr(torchvision.datasets.cifar, "download_and_extract_archive", fetch)
    found = read_cifar10(tmp_path / "raw")
    assert as_multiset(found) == as_multiset(read_cifar10(pristine))
    assert [path.name for path in (tmp_path / "raw").iterdir()] == [BATCHES]
