import logging
import os
import re
import shutil
from io import BytesIO

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from small_folders import build, put, refusal, rows_of, write_image

from debias_pipeline.biased_data.sources.raw_dir import ProblemsError
from debias_pipeline.errors import UserError
from debias_pipeline.io import BadFilesDataset
from debias_pipeline.pipelines.ingestion.nodes import build_data

HTML = b"<!DOCTYPE html><html>404</html>"


@pytest.fixture
def photos(tmp_path):
    """12 images in each of two class folders."""
    for i in range(24):
        write_image(tmp_path / "photos" / "ab"[i % 2] / str(i), "png", i, (8, 6))
    return tmp_path / "photos"


def truncated_png() -> bytes:
    file = BytesIO()
    Image.effect_noise((40, 40), 50).save(file, "PNG")
    return file.getvalue()[:-600]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        *((f"{folder}/0.png", "made by the system") for folder in (
            "@eaDir", "@EADIR", "#recycle", "$RECYCLE.BIN", "System Volume Information",
            "lost+found", "__MACOSX",
        )),
        *((name, "made by the system") for name in ("Thumbs.db", "THUMBS.DB", "Desktop.ini")),
        *((name, "hidden") for name in (".thumbnails/0.png", "._0.png", ".DS_Store", ".git/a/b")),
    ],
)  # fmt: skip
def test_litter_is_counted_and_never_an_image_or_a_class(photos, name, reason, caplog):
    for folder in (photos, photos / "a"):
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        shutil.copy(photos / "a" / "0.png", folder / name)
    with caplog.at_level(logging.INFO):
        data = build(photos)
    assert data.data_card["label_names"] == ["a", "b"]
    assert (len(data.images), data.data_card["left_out"]) == (24, {reason: 2})
    assert [record.levelname for record in caplog.records] == ["INFO"]


def test_more_suffixes_are_read_and_other_files_counted(photos):
    for i, suffix in enumerate(("jfif", "JPE", "avif", "jp2", "tga", "TIF")):
        plain = photos / "a" / f"x{i}.{suffix.lower()}"
        Image.new("RGB", (8, 6)).save(plain)
        plain.rename(plain.with_suffix(f".{suffix}"))
    for name in ("a.txt", "b.xmp", "b.nef", "c.mp4", "d.svg"):
        (photos / "a" / name).write_text("text")
    data = build(photos)
    assert len(data.images) == 30
    assert data.data_card["left_out"] == {"not an image": 3, "camera raw": 1, "video": 1}


@pytest.mark.parametrize("name", ["photo", "photo.jpg_large", "photo.dat", "photo.txt"])
def test_an_image_without_the_suffix_of_one_stops_the_run(photos, name):
    (photos / "a" / "2.png").rename(photos / "a" / name)
    message = refusal(photos)
    assert f"a/{name}: is a PNG image" in message
    assert "rename" in message
    assert "skip_bad=true" in message
    data = build(photos, skip_bad=True)
    assert len(data.images) == 23
    assert [*data.bad_files] == [f"a/{name}"]


def test_bad_files_are_skipped_if_asked_and_all_listed_otherwise(photos, tmp_path):
    contents = [b"", HTML, truncated_png(), b"version https://git-lfs.github.com/spec/v1"]
    for i in range(16):
        (photos / "a" / f"bad{i}.png").write_bytes(contents[i % 4])
    (photos / "b" / "gone.jpg").symlink_to("nowhere.jpg")
    (photos / "b" / "out.jpg").symlink_to(tmp_path / "out.jpg")
    with pytest.raises(ProblemsError) as caught:
        build(photos)
    assert "18 problems" in str(caught.value)
    assert "skip_bad=true" in str(caught.value)
    listed = dict(caught.value.listed)
    assert len(listed) == 18
    assert "HTML" in listed["a/bad1.png"]
    assert "Git LFS" in listed["a/bad3.png"]
    data = build(photos, skip_bad=True)
    assert data.bad_files == listed
    assert data.data_card["left_out"] == {"unusable (skip_bad=true)": 18}
    assert len(data.images) == len(data.manifest) == 24
    assert not data.manifest["source"].str.contains("bad").any()
    for row, source in enumerate(data.manifest["source"]):
        assert (data.images[row] == int(source[2:-4])).all()


def test_the_table_of_bad_files_is_named_and_kept_up_to_date(photos, tmp_path, caplog):
    for i in range(12):
        (photos / "a" / f"bad{i}.png").write_bytes(HTML)
    table = tmp_path / "data" / "bad_files.csv"

    def run(**options: bool):
        write = BadFilesDataset(str(table)).load()
        return build_data("folder", "2pct", str(photos), 0, options, write)

    with pytest.raises(UserError, match=re.escape(str(table))):
        run()
    assert pd.read_csv(table)["file"].nunique() == 12
    table.unlink()
    *_, card, _ = run(skip_bad=True)
    assert card["left_out"] == {"unusable (skip_bad=true)": 12}
    assert pd.read_csv(table)["problem"].str.contains("HTML").all()
    assert str(table) in caplog.text
    for path in photos.glob("a/bad*"):
        path.unlink()
    run()
    assert not table.exists()


def test_a_table_that_cannot_be_written_does_not_hide_the_problem(photos, tmp_path):
    (photos / "a" / "bad.png").write_bytes(HTML)
    (tmp_path / "file").touch()
    write = BadFilesDataset(str(tmp_path / "file" / "bad_files.csv")).load()
    with pytest.raises(UserError, match="HTML page"):
        build_data("folder", "2pct", str(photos), 0, {}, write)


def test_bad_rows_of_a_table_are_skipped_with_their_columns(small_dir):
    rows = rows_of(number=range(40))
    for i, content in ((0, HTML), (7, truncated_png())):
        (small_dir / f"images/{i}.png").write_bytes(content)
    (small_dir / "images/3.png").unlink()
    assert "row 5 (images/3.png): does not exist" in refusal(put(small_dir, rows))
    data = build(small_dir, skip_bad=True)
    kept = [i for i in range(40) if i not in (0, 3, 7)]
    assert sorted(data.manifest["number"].astype(int)) == kept
    assert (
        data.manifest["source"] == "images/" + data.manifest["number"].astype(str) + ".png"
    ).all()
    assert sorted(data.bad_files) == ["images/0.png", "images/3.png", "images/7.png"]
    assert data.data_card["left_out"] == {"unusable (skip_bad=true)": 3}


def test_a_label_or_split_without_usable_files_is_not_skipped(photos):
    for name in ("0", "1", "2"):
        (photos / "c").mkdir(exist_ok=True)
        (photos / "c" / f"{name}.png").write_bytes(HTML)
    message = refusal(photos, skip_bad=True)
    assert "'c'" in message
    assert "add skip_bad" not in message
    shutil.rmtree(photos / "c")
    (photos.parent / "split").mkdir()
    photos.rename(photos.parent / "split" / "train")
    (photos.parent / "split" / "test" / "a").mkdir(parents=True)
    (photos.parent / "split" / "test" / "a" / "0.png").write_bytes(b"")
    assert "'test'" in refusal(photos.parent / "split", skip_bad=True)


FOLDERS = ["a", "b", "a/sub", "b/@eaDir", ".hidden", "", "#recycle/deep"]
NAMES = st.sampled_from(["x.png", "y.jfif", "x.txt", "noise", ".z.png", "Thumbs.db", "v.mp4"])
CONTENTS = st.sampled_from([None, b"", HTML, b"text"])


@pytest.mark.slow
@given(st.dictionaries(st.tuples(st.sampled_from(FOLDERS), NAMES), CONTENTS, max_size=12))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_file_is_an_image_or_left_out(tmp_path_factory, drawn):
    raw_dir = tmp_path_factory.mktemp("drawn")
    for i in range(16):
        write_image(raw_dir / "ab"[i % 2] / f"good{i}", "bmp", i, (2, 2))
    for (folder, name), content in drawn.items():
        (raw_dir / folder).mkdir(parents=True, exist_ok=True)
        if content is None:
            Image.new("RGB", (2, 2)).save(raw_dir / folder / name, "PNG")
        else:
            (raw_dir / folder / name).write_bytes(content)
    files = sum(len(names) for _, _, names in os.walk(raw_dir))
    data = build(raw_dir, skip_bad=True)
    assert len(data.images) + sum(data.data_card["left_out"].values()) == files
