import tarfile
import zipfile
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image
from small_folders import GIF_OF_100_MEGAPIXELS

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
    splits = data.data_card["splits"]
    assert splits["train"] == {"images": 35, "conflicting": 5, "conflicting_fraction": 5 / 35}
    assert (splits["valid"]["images"], splits["test"]["images"]) == (6, 7)
    assert (data.manifest["conflicting"] == (data.manifest["label"] != data.manifest["bias"])).all()


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
    assert whole.manifest.equals(build(published_dir / "cmnist").manifest)
    monkeypatch.chdir(published_dir / "cmnist")
    assert whole.manifest.equals(build(Path()).manifest)


def test_class_folders_in_valid_grey_images_links_within_and_litter(published_dir, make_png):
    folder = published_dir / "cmnist"
    make_png(folder / "2pct/valid/3/77_3_4.png")
    Image.new("L", (5, 6), 9).save(folder / "2pct/align/0/0_0_0.png")
    make_png(published_dir / "store/50_0_0.png")
    (folder / "2pct/align/0/50_0_0.png").symlink_to(published_dir / "store/50_0_0.png")
    (folder / "2pct/align/0/.DS_Store").touch()
    (folder / "test/Thumbs.db").touch()
    data = build(published_dir)
    counts = [data.data_card["splits"][name]["images"] for name in ("train", "valid", "test")]
    assert counts == [36, 7, 7]
    assert (data.images[data.manifest["source"] == "cmnist/2pct/align/0/0_0_0.png"] == 9).all()


def test_unknown_percent_lists_those_present(published_dir, make_published):
    make_published(published_dir, percent="0.5pct")
    make_published(published_dir, percent="10pct")
    assert "0.5pct, 2pct, 10pct" in refusal(published_dir, "1pct")


def test_other_folders_are_not_taken_for_the_set(tmp_path, make_published):
    (tmp_path / "cmnist" / "other").mkdir(parents=True)
    folder = make_published(tmp_path, name="cifar10c")
    assert find_published("cmnist", tmp_path) is None
    assert find_published("cmnist", folder) is None


def test_names_that_do_not_fit_are_told(published_dir, make_png):
    problems = {
        "2pct/align/1/x.png": "the name is not",
        "2pct/align/1/5_1_1.gif": "the name is not",
        "2pct/align/1/5_1.png": "the name is not",
        "2pct/align/1/99_1_2.png": "label 1 does not equal bias 2, but it is in align/",
        "2pct/conflict/1/99_1_1.png": "label 1 equals bias 1, but it is in conflict/",
        "2pct/align/2/99_1_1.png": "label 1 does not match the class folder 2",
        "test/99_10_1.png": "label 10 is not below 10",
        "test/99_1_10.png": "bias 10 is not below 10",
    }
    for place in problems:
        make_png(published_dir / "cmnist" / place)
    message = refusal(published_dir)
    assert "8 problems:" in message
    for place, problem in problems.items():
        assert f"cmnist/{place}: {problem}" in message


def test_images_that_cannot_be_used_and_empty_folders_are_named(published_dir, make_png, recwarn):
    folder = published_dir / "cmnist"
    for path in (folder / "2pct/valid").iterdir():
        path.unlink()
    cut = folder / "2pct/align/3/13_3_3.png"
    cut.write_bytes(cut.read_bytes()[:40])
    make_png(folder / "test/1/1_1_8.png", size=(9, 9))
    (folder / "test/2/2_2_7.png").write_bytes(GIF_OF_100_MEGAPIXELS)
    outside = published_dir.parent / "outside"
    make_png(outside / "50_0_0.png")
    (folder / "2pct/align/0/50_0_0.png").symlink_to(outside / "50_0_0.png")
    (folder / "2pct/align/folder").symlink_to(outside)
    message = refusal(published_dir)
    assert "6 problems:" in message
    for problem in (
        "2pct/valid: no images",
        "2pct/align/3/13_3_3.png: cannot be decoded",
        "test/1/1_1_8.png: is 9x9, but others are 6x5",
        "test/2/2_2_7.png: has more than 80 megapixels",
        "2pct/align/0/50_0_0.png: leads out of raw_dir",
        "2pct/align/folder: leads out of raw_dir",
    ):
        assert f"cmnist/{problem}" in message
    assert not [warning for warning in recwarn if "Decompression" in str(warning.category)]


def test_all_problems_are_counted_and_ten_shown(published_dir, make_png):
    for i in range(14):
        make_png(published_dir / f"cmnist/test/bad{i:02}.png")
    (published_dir / "cmnist/2pct/align/0/0_0_0.png").write_bytes(b"")
    message = refusal(published_dir)
    for part in ("15 problems", "bad09", "and 5 more", "unpack the published set again"):
        assert part in message
    assert "bad10" not in message
    for path in published_dir.rglob("*.png"):
        path.write_bytes(b"x")
    assert "62 problems" in refusal(published_dir)


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


@pytest.mark.parametrize("kind", [".zip", ".tar.xz"])
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


def test_archives_that_cannot_be_used_are_told(tmp_path, published_dir, make_png):
    raw_dir = tmp_path / "packed"
    raw_dir.mkdir()
    make_png(tmp_path / "other/a.png")
    pack(raw_dir / "cmnist.zip", tmp_path / "other", "other")
    assert "has no folder cmnist/<percent>" in refusal(raw_dir)
    make_png(published_dir / "cmnist/test/bad.png")
    (published_dir / "cmnist/2pct/align/0/0_0_0.png").write_bytes(b"")
    pack(raw_dir / "cmnist.tar", published_dir / "cmnist", "cmnist")
    assert "cmnist.tar and cmnist.zip" in refusal(raw_dir)
    (raw_dir / "cmnist.zip").unlink()
    message = refusal(raw_dir)
    assert message.startswith(str(raw_dir / "cmnist.tar"))
    assert "2 problems: cmnist/test/bad.png: the name" in message
    assert "0_0_0.png: is empty (0 bytes)" in message
    (raw_dir / "cmnist.tar").write_bytes(b"\x1f\x8bnothing")
    assert "complete copy" in refusal(raw_dir)
