import pytest
from PIL import Image

from debias_pipeline.biased_data import get_dataset
from debias_pipeline.errors import UserError


def test_jpeg_files_of_any_size_are_resized(tmp_path):
    folder = tmp_path / "dogs_and_cats"
    places = [f"1pct/align/{n % 2}/{n}_{n % 2}_{n % 2}.jpg" for n in range(6)]
    places += [f"1pct/conflict/{n}/{n}_{n}_{1 - n}.jpg" for n in range(2)]
    places += ["1pct/valid/9_0_0.jpg", "test/0/9_0_0.jpg", "test/1/8_1_0.jpg"]
    for number, place in enumerate(places):
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40 + number, 60)).save(folder / place)
    data = get_dataset("dogs_and_cats").build("1pct", tmp_path, 0)
    assert data.images.shape == (11, 224, 224, 3)
    assert data.manifest["split"].value_counts().to_dict() == {"train": 8, "test": 2, "valid": 1}
    assert data.data_card["splits"]["train"]["conflicting"] == 2


@pytest.mark.parametrize(("name", "valid"), [("bffhq", "valid"), ("dogs_and_cats", "5pct/valid")])
def test_what_is_missing_says_where_to_put_it(tmp_path, name, valid):
    (tmp_path / "other.txt").touch()
    with pytest.raises(UserError) as caught:
        get_dataset(name).build("5pct", tmp_path, 0)
    for part in (f"{name}/5pct/align/…", f"{name}/{valid}/…", "kakaoenterprise/BiasEnsemble"):
        assert part in str(caught.value)
