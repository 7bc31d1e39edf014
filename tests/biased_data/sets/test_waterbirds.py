import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_cifar10 import pack

from debias_pipeline.biased_data import BiasedData, get_dataset
from debias_pipeline.biased_data.base import DataOptions
from debias_pipeline.biased_data.manifest import Manifest
from debias_pipeline.biased_data.sets import waterbirds
from debias_pipeline.errors import UserError

FOLDER = "waterbird_complete95_forest2water2"
HEADER = "img_id,img_filename,y,split,place,place_filename"
# Label, split, background.
ROWS = [(0, 0, 0), (1, 0, 1), (0, 0, 1), (1, 1, 0), (0, 2, 0), (1, 2, 1)]


def write_rows(folder: Path, rows: list[str]) -> None:
    (folder / "metadata.csv").write_text("\n".join([HEADER, *rows, ""]))


@pytest.fixture
def raw_dir(tmp_path) -> Path:
    """Six photographs of different sizes, grey with a darker left quarter."""
    folder = tmp_path / "raw" / FOLDER
    rows = []
    for row, (y, split, place) in enumerate(ROWS):
        name = f"00{y}.Some_bird/bird_{row}.jpg"
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = np.full((60 + 10 * row, 80, 3), 40 * row, np.uint8)
        pixels[:, :20] //= 2
        Image.fromarray(pixels).save(folder / name, quality=95)
        rows.append(f"{row + 1},{name},{y},{split},{place},/f/forest/broadleaf/00003.jpg")
    write_rows(folder, rows)
    return tmp_path / "raw"


def build(raw_dir: Path) -> BiasedData:
    return get_dataset("waterbirds").build("2pct", raw_dir, 0)


def refusal(raw_dir: Path) -> str:
    with pytest.raises(UserError) as caught:
        build(raw_dir)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_images_splits_and_groups_are_those_of_the_table(raw_dir):
    data = build(raw_dir)
    manifest = Manifest.validate(data.manifest)
    assert data.images.shape == (6, 224, 224, 3)
    assert manifest["split"].tolist() == ["train"] * 3 + ["valid"] + ["test"] * 2
    assert manifest["label"].tolist() == [y for y, _, _ in ROWS]
    assert manifest["bias"].tolist() == [place for _, _, place in ROWS]
    assert manifest["conflicting"].tolist() == [False, False, True, True, False, False]
    assert manifest["source"][1] == f"{FOLDER}/001.Some_bird/bird_1.jpg"
    # Resized to 256 and cropped by 16 on each side, the left quarter of 64 pixels has 48.
    image = data.images[5].astype(int)
    assert abs(image[100, 40, 0] - 100) < 6
    assert abs(image[100, 56, 0] - 200) < 6


def test_archive_and_the_folder_itself_give_the_same(raw_dir, tmp_path):
    expected = build(raw_dir)
    pack(raw_dir / FOLDER, tmp_path / "packed" / f"{FOLDER}.tar.gz", FOLDER)
    for place in (tmp_path / "packed", raw_dir / FOLDER):
        data = build(place)
        assert np.array_equal(data.images, expected.images)
        assert data.manifest.equals(expected.manifest)


def test_the_percent_is_in_no_name_and_changed_files_are_noticed(raw_dir):
    dataset = get_dataset("waterbirds")
    assert dataset.title("2pct", raw_dir) == "waterbirds"
    assert dataset.folder("2pct", raw_dir, 0, DataOptions()) == "waterbirds/all"
    before = dataset.raw_hash("2pct", raw_dir, DataOptions())
    (raw_dir / FOLDER / "001.Some_bird/bird_1.jpg").write_bytes(b"")
    assert dataset.raw_hash("2pct", raw_dir, DataOptions()) != before


def test_missing_and_damaged_images_and_invalid_rows_are_named(raw_dir):
    folder = raw_dir / FOLDER
    table = (folder / "metadata.csv").read_text().splitlines()[1:]
    rows = ["7,none.jpg,0,0,0,x", "8,../../outside.jpg,0,0,0,x", "9,a.jpg,2,0,0,x"]
    write_rows(folder, [*table, *rows])
    (folder / "001.Some_bird/bird_1.jpg").write_bytes(b"<html>")
    message = refusal(raw_dir)
    for part in (
        "4 problems",
        f"{FOLDER}/none.jpg: does not exist",
        f"{FOLDER}/001.Some_bird/bird_1.jpg: is not an image but an HTML page",
        "row 9: ../../outside.jpg leads out of raw_dir",
        "row 10 (a.jpg): y '2' is not 0 or 1",
    ):
        assert part in message


def test_a_missing_split_is_refused(raw_dir):
    folder = raw_dir / FOLDER
    table = (folder / "metadata.csv").read_text().splitlines()[1:]
    write_rows(folder, table[:4])
    assert "0, 1 are unclear" in refusal(raw_dir)


def test_a_missing_set_is_downloaded_or_the_message_says_what_to_do(raw_dir, tmp_path, monkeypatch):
    published = tmp_path / "server" / f"{FOLDER}.tar.gz"
    pack(raw_dir / FOLDER, published, FOLDER)
    monkeypatch.setattr(waterbirds, "URL", (tmp_path / "nothing.tar.gz").as_uri())
    empty = tmp_path / "data/01_raw"
    message = refusal(empty)
    assert "could not be downloaded" in message
    assert f"{FOLDER}/metadata.csv" in message
    assert not list(empty.iterdir())
    monkeypatch.setattr(waterbirds, "URL", published.as_uri())
    assert build(empty).manifest.equals(build(raw_dir).manifest)
    shutil.rmtree(tmp_path / "server")
    assert len(build(empty).images) == 6
