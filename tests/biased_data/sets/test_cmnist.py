import gzip
import zlib
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torchvision.datasets.mnist
from pydantic import ValidationError

from debias_pipeline.biased_data import BiasedData, get_dataset
from debias_pipeline.biased_data.manifest import Manifest
from debias_pipeline.biased_data.sets.cmnist import ColourOptions
from debias_pipeline.errors import UserError

RAW = Path("MNIST/raw")
TRAIN, LABELS = "train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"


def build(raw_dir: Path, percent: str = "20pct", seed: int = 0, **options) -> BiasedData:
    return get_dataset("cmnist").build(percent, raw_dir, seed, ColourOptions(**options))


def refusal(raw_dir: Path, percent: str = "20pct") -> str:
    with pytest.raises(UserError) as caught:
        build(raw_dir, percent)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def offline(url, **_):
        raise URLError("no route to host")

    monkeypatch.setattr(torchvision.datasets.mnist, "download_and_extract_archive", offline)


def test_splits_and_shapes(mnist_dir):
    data = build(mnist_dir)
    Manifest.validate(data.manifest)
    assert data.images.shape == (300, 6, 5, 3)
    counts = {split: part["images"] for split, part in data.data_card["splits"].items()}
    assert counts == {"train": 220, "valid": 20, "test": 60}  # one training image in twelve
    assert data.data_card["origin"] == "built from MNIST files (torchvision layout)"
    assert data.data_card["image_shape"] == [6, 5, 3]
    assert (data.manifest["conflicting"] == (data.manifest["label"] != data.manifest["bias"])).all()


def test_source_leads_back_to_the_digit(mnist_dir):
    data = build(mnist_dir)
    raw = (mnist_dir / RAW / TRAIN).read_bytes()[16:]
    grey = np.frombuffer(raw, np.uint8).reshape(-1, 6, 5)
    train = data.manifest[data.manifest["split"] != "test"]
    assert train["source"].is_unique
    for row in train.itertuples():
        place, index = row.source.split("#")
        assert place == f"MNIST/raw/{TRAIN}"
        assert row.label == int(index) % 10
        image, digit = data.images[row.image_id], grey[int(index)]
        assert not image[digit == 0].any()
        assert image[digit > 3].any(axis=-1).all()


def test_same_seed_or_gzipped_files_same_bytes_other_seed_other_bytes(
    tmp_path, mnist_dir, make_mnist
):
    first, again, other = build(mnist_dir), build(mnist_dir), build(mnist_dir, seed=1)
    assert first.images.tobytes() == again.images.tobytes()
    assert first.manifest.equals(again.manifest)
    assert first.images.tobytes() != other.images.tobytes()
    zipped = make_mnist(tmp_path / "zipped", zipped=True)
    assert build(zipped).images.tobytes() == first.images.tobytes()


@pytest.mark.parametrize(
    ("name", "change", "parts"),
    [
        (TRAIN, lambda content: b"", ["0 found", "expected", "delete it"]),
        (TRAIN, lambda content: content[:7], ["7 found", "expected"]),
        (TRAIN, lambda content: content[:1000], ["1000 found", "expected"]),
        (TRAIN, lambda content: content[:-1], ["7216 bytes expected by its header, 7215 found"]),
        (TRAIN, lambda content: content + b"x", ["is damaged"]),
        (TRAIN, lambda content: b"<html>not found</html>" * 100, ["not start like an IDX file"]),
        (LABELS, lambda content: bytes((0, 0, 8, 1, 0, 0, 0, 2, 3, 4)), ["60 images", "2 labels"]),
        (LABELS, lambda content: content[:-1] + b"\xff", ["label 255"]),
    ],
)
def test_damaged_files_are_named_with_what_is_wrong(mnist_dir, name, change, parts):
    path = mnist_dir / RAW / name
    path.write_bytes(change(path.read_bytes()))
    message = refusal(mnist_dir)
    assert not [part for part in [name, *parts] if part not in message], message


def test_damaged_gzip_is_refused(tmp_path, make_mnist):
    raw_dir = make_mnist(tmp_path / "raw", zipped=True)
    path = raw_dir / RAW / f"{TRAIN}.gz"
    path.write_bytes(path.read_bytes()[:200])
    message = refusal(raw_dir)
    assert str(path) in message
    assert "cannot be decompressed" in message


def test_a_wrong_raw_dir_is_told_before_any_download(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / ".gitkeep").touch()
    (tmp_path / "file").touch()
    reasons = {"nowhere": "does not exist", "empty": "is empty", "file": "is not a folder"}
    for name, reason in reasons.items():
        message = refusal(tmp_path / name)
        assert reason in message
        assert "downloaded" not in message


@pytest.fixture
def serve(mnist_dir, monkeypatch):
    """A function that lets downloads succeed, but for files of a given prefix."""

    def serve(broken: str | None = None) -> None:
        def fetch(url, download_root, filename, md5):
            name = filename.removesuffix(".gz")
            if broken and name.startswith(broken):
                (Path(download_root) / filename).write_bytes(gzip.compress(b"half")[:9])
                raise ConnectionResetError("connection reset by peer")
            (Path(download_root) / name).write_bytes((mnist_dir / RAW / name).read_bytes())

        monkeypatch.setattr(torchvision.datasets.mnist, "download_and_extract_archive", fetch)

    return serve


@pytest.mark.parametrize("made", [True, False])
def test_failed_download_names_the_ways_out_and_leaves_nothing(tmp_path, monkeypatch, serve, made):
    monkeypatch.chdir(tmp_path)
    default = Path("data/01_raw")
    if made:
        default.mkdir(parents=True)
    message = refusal(default)
    for way in (str(default / RAW), "raw_dir=", "dataset=cmnist_mini"):
        assert way in message
    serve(broken="t10k")
    assert "could not be downloaded" in refusal(tmp_path / default)
    assert not list(default.rglob("*"))


def test_a_missing_file_is_named_when_it_cannot_be_downloaded(mnist_dir):
    (mnist_dir / RAW / TRAIN).unlink()
    assert f"missing: {TRAIN})" in refusal(mnist_dir)
    assert (mnist_dir / RAW / LABELS).exists()


def test_download_fills_the_default_folder(tmp_path, mnist_dir, serve):
    serve()
    default = tmp_path / "data" / "01_raw"
    assert build(default).images.tobytes() == build(mnist_dir).images.tobytes()
    assert [path.name for path in default.iterdir()] == ["MNIST"]
    assert len(list((default / RAW).iterdir())) == 4


@pytest.mark.parametrize("percent", ["abc", "-1pct", "150pct", "2", 2])
def test_wrong_percent_comes_before_everything_else(tmp_path, percent):
    assert "is not a percentage" in refusal(tmp_path / "nowhere", percent)


def test_published_set_goes_first(tmp_path, mnist_dir, make_published):
    make_published(mnist_dir)
    data = build(mnist_dir, "2pct")
    assert data.data_card["origin"] == "published folder layout"
    assert len(data.images) == 48
    with pytest.raises(UserError, match=r"conflicts=even, colour_noise=0.1 is not available"):
        build(mnist_dir, "2pct", conflicts="even", colour_noise=0.1)


def test_the_images_of_the_default_options_stay_the_same(mnist_dir):
    made = get_dataset("cmnist").build("20pct", mnist_dir, 0)
    assert zlib.crc32(made.images.tobytes()) == 3038170005
    assert zlib.crc32(made.manifest["bias"].to_numpy().tobytes()) == 2988209308


def test_even_conflicts_are_exactly_so_many_in_train_and_valid(mnist_dir):
    splits = build(mnist_dir, conflicts="even").data_card["splits"]
    # 20 % of 220 and of 20; of redrawn images one in ten does not conflict.
    assert [splits[split]["conflicting"] for split in ("train", "valid")] == [44, 4]


def test_colour_noise_is_that_of_the_option(mnist_dir):
    made = build(mnist_dir, "0pct", colour_noise=0)
    shown = made.images[made.manifest["bias"] == 3][:, 1]  # the second row of a digit is white
    assert np.unique(shown.reshape(-1, 3), axis=0).tolist() == [[200, 212, 153]]


def test_training_on_all_digits_repeats_some_of_them_for_validation_and_says_so(mnist_dir):
    made = build(mnist_dir, conflicts="even", train_on_all=True)
    rows = dict(iter(made.manifest.groupby("split")))
    assert {split: len(part) for split, part in rows.items()} == {
        "train": 240, "valid": 20, "test": 60,
    }  # fmt: skip
    assert rows["train"]["source"].is_unique and rows["valid"]["source"].is_unique
    both = rows["valid"].merge(rows["train"], on=["source", "label", "bias", "conflicting"])
    assert len(both) == 20
    assert made.data_card["splits"]["train"]["conflicting"] == 48  # 20 % of 240
    assert "not held out" in made.data_card["origin"]
    assert "held out" not in build(mnist_dir).data_card["origin"]


@pytest.mark.parametrize(
    "options", [{"conflicts": "odd"}, {"colour_noise": -0.1}, {"colour_noise": float("nan")}]
)
def test_invalid_options_are_refused(options):
    with pytest.raises(ValidationError):
        ColourOptions(**options)


def test_options_that_change_the_data_are_part_of_the_folder(mnist_dir):
    chosen = ColourOptions(conflicts="even", colour_noise=0.005, train_on_all=True)
    folders = [
        get_dataset("cmnist").folder("0.5pct", mnist_dir, 0, options)
        for options in (ColourOptions(), chosen)
    ]
    assert folders == [
        "cmnist/0.5pct",
        "cmnist/0.5pct_conflictseven_colour_noise0.005_train_on_allTrue",
    ]
