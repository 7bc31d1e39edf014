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


def test_class_folders(folders):
    Image.new("RGB", (32, 32)).save(folders / "train/cat/x.jpg")
    Image.new("RGB", (32, 32)).save(folders / "train/cat/y.JPEG")
    Image.new("L", (32, 32)).save(folders / "train/cat/z.PNG")
    found = read_cifar10(folders)
    assert found.train.images.shape == (203, 32, 32, 3)
    assert found.test.images.shape == (50, 32, 32, 3)
    assert found.train.images.dtype == np.uint8
    assert found.train.label.dtype == np.int16
    assert found.origin == "class folders of images"
    for half in (found.train, found.test):
        for image, label, source in zip(half.images, half.label, half.source, strict=True):
            assert Path(source).parts[1] == CLASS_NAMES[label]
            assert np.array_equal(np.asarray(Image.open(folders / source).convert("RGB")), image)


def test_torchvision_files_go_first(batches, pristine):
    shutil.copytree(pristine, batches, dirs_exist_ok=True)
    found = read_cifar10(batches)
    assert found.origin == "torchvision's files"
    assert as_multiset(found) == as_multiset(read_cifar10(pristine))
    assert found.train.source[41] == f"{BATCHES}/data_batch_2#1"
    assert found.test.source[-1] == f"{BATCHES}/test_batch#49"


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


@pytest.mark.slow
@pytest.mark.parametrize(("suffix", "within"), [(".zip", ""), (".tar.xz", "cifar10")])
def test_archive_of_class_folders(tmp_path, pristine, suffix, within):
    raw_dir = tmp_path / "raw"
    small_cifar10.pack(pristine, raw_dir / f"cifar10_png{suffix}", within)
    found = read_cifar10(raw_dir)
    assert as_multiset(found) == as_multiset(read_cifar10(pristine))
    inside = f"cifar10_png{suffix}/{within}".rstrip("/")
    assert found.origin == f"class folders of images in {inside}"
    assert found.train.source[0] == f"{inside}/train/airplane/0000.png"
    assert [path.name for path in raw_dir.iterdir()] == [f"cifar10_png{suffix}"]


def test_archive_of_torchvision_files_whose_pickles_are_not_trusted_more(
    tmp_path, batches, pristine
):
    archive = tmp_path / "raw/cifar-10-python.tar.gz"
    small_cifar10.pack(batches, archive)
    found = read_cifar10(archive.parent)
    assert as_multiset(found) == as_multiset(read_cifar10(pristine))
    assert found.test.source[0] == f"cifar-10-python.tar.gz/{BATCHES}/test_batch#0"
    (batches / BATCHES / "data_batch_2").write_bytes(b"cos\nsystem\n")
    small_cifar10.pack(batches, archive)
    assert "data_batch_2 missing or changed" in refusal(archive.parent)


def test_an_archive_is_told_by_its_name_or_by_being_alone(tmp_path, pristine):
    raw_dir = tmp_path / "raw"
    small_cifar10.pack(pristine, raw_dir / "photos.zip")
    assert "in photos.zip" in read_cifar10(raw_dir).origin
    for other in ("CIFAR-10-C.tar", "cifar100.zip", "cifar10c.zip", "cifar-10-binary.tar.gz"):
        (raw_dir / other).write_bytes(b"not read")
    assert "could not be downloaded" in refusal(raw_dir)
    (raw_dir / "photos.zip").rename(raw_dir / "CIFAR-10.zip")
    assert "in CIFAR-10.zip" in read_cifar10(raw_dir).origin
    (raw_dir / "cifar10_old.zip").touch()
    message = refusal(raw_dir)
    assert "CIFAR-10.zip, cifar10_old.zip" in message
    assert "keep one" in message


def test_archives_that_cannot_be_used_are_told(tmp_path, folders):
    raw_dir = tmp_path / "packed"
    (tmp_path / "else").mkdir()
    (tmp_path / "else/readme.txt").write_text("hello")
    small_cifar10.pack(tmp_path / "else", raw_dir / "cifar10.zip")
    assert "does not contain CIFAR-10" in refusal(raw_dir)
    (raw_dir / "cifar10.zip").rename(raw_dir / "photos.zip")
    assert "could not be downloaded" in refusal(raw_dir)
    small_cifar10.pack(folders, raw_dir / "cifar10.tar", within="../outside")
    assert "outside" in refusal(raw_dir)
    assert not (tmp_path / "outside").exists()
    (folders / "train/dog/0003.png").write_bytes(b"")
    small_cifar10.pack(folders, raw_dir / "cifar10.tar")
    message = refusal(raw_dir)
    assert str(raw_dir / "cifar10.tar") in message
    assert "train/dog/0003.png: " in message


def test_all_problems_are_counted_and_ten_shown(tmp_path, folders):
    (folders / "train/cow").mkdir()
    (folders / "train/readme.txt").touch()
    shutil.rmtree(folders / "test/frog")
    (folders / "train/cat/notes.txt").touch()
    (folders / "train/cat/0000.png").write_bytes(b"")
    Image.new("RGB", (33, 32)).save(folders / "train/cat/0001.png")
    Image.new("RGB", (32, 32)).save(tmp_path / "outside.png")
    (folders / "train/cat/link.png").symlink_to(tmp_path / "outside.png")
    (folders / "train/bird/inner.png").mkdir()
    for number in range(5):
        (folders / f"test/ship/000{number}.png").write_bytes(b"x")
    message = refusal(folders)
    assert "has 13 problems: " in message
    for problem in (
        "train/cow: is not one of the ten class folders",
        "train/readme.txt: is not one of the ten class folders",
        "train/cat/notes.txt: is not a .jpg or .png file",
        "train/cat/link.png: leads out of raw_dir",
        "train/bird/inner.png: is not a .jpg or .png file",
        "train/cat/0001.png: is 32x33, but 32x32 is expected",
        "test/frog: no images",
        "and 3 more. ",
    ):
        assert message.count(problem) == 1
    assert ", ".join(CLASS_NAMES) in message
    shutil.rmtree(folders / "test")
    assert "; test/airplane: no images; " in refusal(folders)


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
