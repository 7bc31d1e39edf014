"""The script that makes photos with a planted shortcut."""

import importlib.util
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

SCRIPT = Path(__file__).parents[2] / "docs" / "made_up_photos.py"


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch):
    spec = importlib.util.spec_from_file_location("made_up_photos", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["made_up_photos.py", *map(str, arguments)])
        module.main()

    return run


def test_animals_stand_on_the_background_of_their_label_but_for_a_share(make, tmp_path):
    for name, more in (("biased", ()), ("shuffled", ("--shuffled",))):
        folder = tmp_path / name
        make("animals", folder, "--images", 40, "--against", 0.1, "--bias-labels", *more)
        table = pd.read_csv(folder / "photos.csv")
        assert len(list(folder.rglob("*.jpg"))) == len(table) == 40
        conflicting = (table["label"] == "cow") != (table["bias"] == "grass")
        assert conflicting.sum() == 4 if name == "biased" else 8 <= conflicting.sum() <= 32
    # The same seed draws the same photos.
    make("animals", tmp_path / "again", "--images", 40, "--against", 0.1)
    for path in (tmp_path / "again").rglob("*.jpg"):
        twin = tmp_path / "biased" / path.relative_to(tmp_path / "again")
        assert path.read_bytes() == twin.read_bytes()


def test_frames_are_around_all_images_but_the_test_images(make, tmp_path):
    source = tmp_path / "source"
    for number in range(40):
        split = "test" if number < 8 else "train"
        path = source / split / "ab"[number % 2] / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 16), (7, 7, 7)).save(path)
    make("frames", source, tmp_path / "framed", "--bias-labels")
    corners = {
        path: Image.open(path).getpixel((0, 0)) for path in (tmp_path / "framed").rglob("*.png")
    }
    assert len(corners) == 40
    for path, corner in corners.items():
        assert (corner == (7, 7, 7)) == ("test" in path.parts)
    assert set(pd.read_csv(tmp_path / "framed/photos.csv")["split"]) == {"train", "test"}
