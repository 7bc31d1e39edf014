import struct
import tarfile
import zipfile
import zlib
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image

from debias_pipeline.biased_data import BiasedData, BiasedDataset, get_dataset
from debias_pipeline.biased_data.manifest import Manifest
from debias_pipeline.biased_data.sources.published_layout import find_published, read_published
from debias_pipeline.errors import UserError
from debias_pipeline.names import Headline


class Faces(BiasedDataset):
    name: ClassVar[str] = "faces"
    headline: ClassVar[Headline] = "conflicting_accuracy"
    label_name: ClassVar[str] = "age"
    bias_name: ClassVar[str] = "gender"
    label_names: ClassVar[tuple[str, ...]] = ("young", "old")
    bias_names: ClassVar[tuple[str, ...]] = ("female", "male")

    def build(self, percent: str, raw_dir: Path, seed: int) -> BiasedData:
        raise NotImplementedError


def build(raw_dir: Path, percent: str = "2pct") -> BiasedData:
    return get_dataset("cmnist").build(percent, raw_dir, 0)


def refusal(raw_dir: Path, percent: str = "2pct") -> str:
    with pytest.raises(UserError) as caught:
        build(raw_dir, percent)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_reads_every_image_where_the_manifest_says(published_dir):
    data = build(published_dir)
    Manifest.validate(data.manifest)
    assert data.images.shape == (48, 6, 5, 3)
    for row in data.manifest.itertuples():
        with Image.open(published_dir / row.source) as image:
            assert np.array_equal(np.asarray(image), data.images[row.image_id])


def test_splits_labels_and_flags(published_dir):
    data = build(published_dir)
    assert data.data_card["splits"]["train"] == {
        "images": 35,
        "conflicting": 5,
        "conflicting_fraction": 5 / 35,
    }
    assert data.data_card["splits"]["valid"]["images"] == 6
    assert data.data_card["splits"]["test"]["images"] == 7
    manifest = data.manifest
    assert (manifest["conflicting"] == (manifest["label"] != manifest["bias"])).all()


def test_order_is_that_of_split_and_place(published_dir):
    manifest = build(published_dir).manifest
    for split in ("train", "valid", "test"):
        places = manifest.loc[manifest["split"] == split, "source"].tolist()
        assert [Path(place).parts for place in places] == sorted(
            Path(place).parts for place in places
        )
    assert manifest["split"].drop_duplicates().tolist() == ["train", "valid", "test"]


def test_raw_dir_may_be_the_folder_of_the_set(published_dir, monkeypatch):
    whole = build(published_dir)
    inner = build(published_dir / "cmnist")
    monkeypatch.chdir(published_dir / "cmnist")
    here = build(Path())
    assert whole.manifest.equals(inner.manifest)
    assert whole.manifest.equals(here.manifest)


def test_class_folders_in_valid_are_read_too(published_dir, make_png):
    make_png(published_dir / "cmnist/2pct/valid/3/77_3_4.png")
    assert build(published_dir).data_card["splits"]["valid"]["images"] == 7


def test_grey_images_become_rgb(published_dir):
    path = published_dir / "cmnist/2pct/align/0/0_0_0.png"
    Image.new("L", (5, 6), 9).save(path)
    data = build(published_dir)
    row = data.manifest.index[data.manifest["source"] == "cmnist/2pct/align/0/0_0_0.png"][0]
    assert (data.images[row] == 9).all()


def test_litter_is_passed_over(published_dir):
    (published_dir / "cmnist/2pct/align/0/.DS_Store").touch()
    (published_dir / "cmnist/test/Thumbs.db").touch()
    assert len(build(published_dir).images) == 48


def test_unknown_percent_lists_those_present(published_dir, make_published):
    make_published(published_dir, percent="0.5pct")
    make_published(published_dir, percent="10pct")
    assert "0.5pct, 2pct, 10pct" in refusal(published_dir, "1pct")


def test_a_folder_without_percents_is_not_the_set(tmp_path):
    (tmp_path / "cmnist" / "other").mkdir(parents=True)
    assert find_published("cmnist", tmp_path) is None


def test_another_set_is_not_taken_for_this_one(tmp_path, make_published):
    folder = make_published(tmp_path, name="cifar10c")
    assert find_published("cmnist", tmp_path) is None
    assert find_published("cmnist", folder) is None


def test_image_that_does_not_decode_is_named(published_dir):
    path = published_dir / "cmnist/2pct/align/3/13_3_3.png"
    path.write_bytes(path.read_bytes()[:40])
    message = refusal(published_dir)
    assert "1 problem:" in message
    assert "cmnist/2pct/align/3/13_3_3.png: cannot be decoded" in message


def test_other_size_is_named(published_dir, make_png):
    make_png(published_dir / "cmnist/test/1/1_1_8.png", size=(9, 9))
    assert "cmnist/test/1/1_1_8.png: is 9x9, but others are 6x5" in refusal(published_dir)


@pytest.mark.parametrize(
    ("place", "complaint"),
    [
        ("2pct/align/1/x.png", "the name is not"),
        ("2pct/align/1/5_1_1.jpg", "the name is not"),
        ("2pct/align/1/5_1.png", "the name is not"),
        ("2pct/align/1/99_1_2.png", "but it is in align/"),
        ("2pct/conflict/1/99_1_1.png", "but it is in conflict/"),
        ("2pct/align/2/99_1_1.png", "class folder 2"),
        ("test/99_10_1.png", "label 10 is not below 10"),
        ("test/99_1_10.png", "bias 10 is not below 10"),
    ],
)
def test_name_that_does_not_fit_is_named(published_dir, make_png, place, complaint):
    make_png(published_dir / "cmnist" / place)
    message = refusal(published_dir)
    assert f"cmnist/{place}: " in message
    assert complaint in message


def test_folder_without_images_is_named(published_dir):
    for path in (published_dir / "cmnist/2pct/valid").iterdir():
        path.unlink()
    assert "cmnist/2pct/valid: no images" in refusal(published_dir)


def test_all_problems_are_counted_and_ten_shown(published_dir, make_png):
    for i in range(14):
        make_png(published_dir / f"cmnist/test/bad{i:02}.png")
    (published_dir / "cmnist/2pct/align/0/0_0_0.png").write_bytes(b"")
    message = refusal(published_dir)
    assert "15 problems" in message
    assert "bad09" in message
    assert "bad10" not in message
    assert "and 5 more" in message
    assert "unpack the published set again" in message


def test_nothing_decodes(published_dir):
    for path in published_dir.rglob("*.png"):
        path.write_bytes(b"x")
    assert "48 problems" in refusal(published_dir)


@pytest.mark.parametrize("place", ["2pct/align/0/50_0_0.png", "2pct/align/folder"])
def test_links_out_of_raw_dir_are_not_followed(tmp_path, published_dir, make_png, place):
    outside = tmp_path / "outside"
    make_png(outside / "50_0_0.png")
    target = outside / "50_0_0.png" if place.endswith(".png") else outside
    (published_dir / "cmnist" / place).symlink_to(target)
    assert f"cmnist/{place}: leads out of raw_dir" in refusal(published_dir)


def test_links_within_raw_dir_are_followed(published_dir, make_png):
    make_png(published_dir / "store/50_0_0.png")
    (published_dir / "cmnist/2pct/align/0/50_0_0.png").symlink_to(
        published_dir / "store/50_0_0.png"
    )
    assert len(build(published_dir).images) == 49


def test_set_that_is_a_link_out_of_raw_dir_is_refused(tmp_path, make_published):
    make_published(tmp_path / "elsewhere")
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/cmnist").symlink_to(tmp_path / "elsewhere/cmnist")
    message = refusal(tmp_path / "raw")
    assert "leads out of raw_dir" in message
    assert f"raw_dir={tmp_path / 'elsewhere/cmnist'}" in message


def test_misspelt_folder_and_valid_beside_the_percents(tmp_path, make_png):
    folder = tmp_path / "faces"
    make_png(folder / "0.5pct/align/0/1_0_0.png")
    make_png(folder / "0.5pct/conlict/1/2_1_0.png")
    make_png(folder / "valid/3_1_1.png")
    make_png(folder / "test/4_0_1.png")
    published = find_published("faces", tmp_path)
    assert published is not None
    data = read_published(Faces(), published, percent="0.5pct", seed=0)
    assert data.manifest["source"].tolist() == [
        "faces/0.5pct/align/0/1_0_0.png",
        "faces/0.5pct/conlict/1/2_1_0.png",
        "faces/valid/3_1_1.png",
        "faces/test/4_0_1.png",
    ]
    assert data.manifest["conflicting"].tolist() == [False, True, False, True]


def pack(archive: Path, folder: Path, arcname: str) -> None:
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive, "w") as pack:
            for path in sorted(folder.rglob("*")):
                pack.write(path, Path(arcname, path.relative_to(folder)).as_posix())
    else:
        with tarfile.open(archive, f"w:{archive.suffix[1:].replace('tar', '')}") as tar:
            tar.add(folder, arcname)


@pytest.mark.parametrize("kind", [".zip", ".tar", ".tar.gz", ".tar.xz", ".tar.bz2"])
@pytest.mark.parametrize("arcname", ["cmnist", ".", "dataset/cmnist", "published"])
def test_archive_gives_what_folders_give(tmp_path, published_dir, make_published, kind, arcname):
    folder = make_published(published_dir, percent="5pct")
    raw_dir = tmp_path / "packed"
    raw_dir.mkdir()
    pack(raw_dir / f"cmnist{kind}", folder, arcname)
    unpacked, packed = build(published_dir), build(raw_dir)
    assert packed.manifest.equals(unpacked.manifest)
    assert np.array_equal(packed.images, unpacked.images)
    assert "archive" in packed.data_card["origin"]
    message = refusal(raw_dir, "1pct")
    assert "2pct, 5pct" in message
    assert str(raw_dir / f"cmnist{kind}") in message


def test_folder_goes_before_archive(published_dir):
    (published_dir / "cmnist.zip").write_bytes(b"damaged")
    assert len(build(published_dir).images) == 48


def test_two_archives_are_one_too_many(tmp_path):
    for name in ("cmnist.zip", "cmnist.tar"):
        (tmp_path / name).touch()
    assert "cmnist.tar and cmnist.zip" in refusal(tmp_path)


def test_archive_of_something_else_is_told(tmp_path, make_png):
    make_png(tmp_path / "other/a.png")
    (tmp_path / "raw").mkdir()
    pack(tmp_path / "raw/cmnist.zip", tmp_path / "other", "other")
    assert "has no folder cmnist/<percent>" in refusal(tmp_path / "raw")


def test_problems_in_an_archive_name_the_archive(tmp_path, published_dir, make_png):
    make_png(published_dir / "cmnist/test/bad.png")
    (published_dir / "cmnist/2pct/align/0/0_0_0.png").write_bytes(b"")
    (tmp_path / "packed").mkdir()
    pack(tmp_path / "packed/cmnist.tar", published_dir / "cmnist", "cmnist")
    message = refusal(tmp_path / "packed")
    assert message.startswith(str(tmp_path / "packed/cmnist.tar"))
    assert "2 problems: cmnist/test/bad.png: the name" in message
    assert "0_0_0.png: is empty (0 bytes)" in message


def test_damaged_archive_is_told(tmp_path):
    (tmp_path / "cmnist.tar.gz").write_bytes(b"\x1f\x8bnothing")
    assert "complete copy" in refusal(tmp_path)


def test_hundred_megapixels_are_refused_by_the_header(published_dir, recwarn):
    path = published_dir / "cmnist/test/1/1_1_8.png"
    path.write_bytes(png_header(10_000, 10_000))
    message = refusal(published_dir)
    assert "cmnist/test/1/1_1_8.png: has more than 80 megapixels" in message
    assert not [warning for warning in recwarn if "Decompression" in str(warning.category)]


def png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = zlib.crc32(kind + content).to_bytes(4, "big")
        return len(content).to_bytes(4, "big") + kind + content + checksum

    size = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
