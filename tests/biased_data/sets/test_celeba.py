from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from debias_pipeline.biased_data import BiasedData, get_dataset
from debias_pipeline.biased_data.manifest import Manifest
from debias_pipeline.biased_data.sets.celeba import CelebaOptions
from debias_pipeline.errors import UserError

# Blond_Hair, Male, Smiling, split.
FACES = [
    *[(1, -1, 1, 0), (1, -1, -1, 0), (-1, 1, 1, 0), (-1, 1, -1, 0), (-1, -1, 1, 0)],
    *[(1, 1, 1, 1), (-1, 1, -1, 2), (1, 1, 1, 2)],
]


def write_lists(folder: Path, faces=FACES) -> None:
    names = [f"{number:06}.jpg" for number in range(1, len(faces) + 1)]
    of_names = list(zip(names, faces, strict=True))
    lines = [f"{name}  {' '.join(f'{v:2d}' for v in face[:3])}" for name, face in of_names]
    text = "\n".join([str(len(faces)), "Blond_Hair Male Smiling ", *lines, ""])
    (folder / "list_attr_celeba.txt").write_text(text)
    parts = [f"{name} {face[3]}" for name, face in of_names]
    (folder / "list_eval_partition.txt").write_text("\n".join([*parts, ""]))


@pytest.fixture
def raw_dir(tmp_path) -> Path:
    """Eight faces of the published size in torchvision's layout, white at the top and bottom."""
    folder = tmp_path / "raw/celeba"
    (folder / "img_align_celeba").mkdir(parents=True)
    for number in range(1, len(FACES) + 1):
        pixels = np.full((218, 178, 3), 20 * number, np.uint8)
        pixels[:20] = pixels[-20:] = 255
        Image.fromarray(pixels).save(folder / f"img_align_celeba/{number:06}.jpg", quality=95)
    write_lists(folder)
    return tmp_path / "raw"


def build(raw_dir: Path, **options: str) -> BiasedData:
    return get_dataset("celeba").build("2pct", raw_dir, 0, CelebaOptions(**options))


def refusal(raw_dir: Path, **options: str) -> str:
    with pytest.raises(UserError) as caught:
        build(raw_dir, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_blond_hair_is_the_label_and_gender_the_bias(raw_dir):
    data = build(raw_dir)
    manifest = Manifest.validate(data.manifest)
    assert manifest["label"].tolist() == [int(face[0] == 1) for face in FACES]
    assert manifest["bias"].tolist() == [int(face[1] == 1) for face in FACES]
    assert manifest["split"].tolist() == ["train"] * 5 + ["valid"] + ["test"] * 2
    # Blond women and dark-haired men are aligned.
    assert data.data_card["aligned_bias"] == [1, 0]
    conflicting = [False, False, False, False, True, True, False, True]
    assert manifest["conflicting"].tolist() == conflicting
    assert data.data_card["label_names"] == ["not Blond_Hair", "Blond_Hair"]
    assert data.data_card["bias_name"] == "Male"


def test_images_are_the_central_squares(raw_dir):
    images = build(raw_dir).images
    assert images.shape == (8, 178, 178, 3)
    assert abs(images[3, 2, 2].astype(int) - 80).max() < 3
    assert abs(images[3, -3, -3].astype(int) - 80).max() < 3


def test_other_attributes_are_options_and_part_of_the_folder(raw_dir):
    data = build(raw_dir, target="Smiling")
    assert data.manifest["label"].tolist() == [int(face[2] == 1) for face in FACES]
    dataset = get_dataset("celeba")
    options = CelebaOptions(target="Smiling")
    assert dataset.folder("2pct", raw_dir, 0, options) == "celeba/all_targetSmiling"
    assert "Did you mean Smiling?" in refusal(raw_dir, target="Smilling")
    assert "target and bias_attribute are both Male" in refusal(raw_dir, target="Male")
    with pytest.raises(ValidationError):
        CelebaOptions(target="../Male")


def test_what_is_wrong_with_an_image_is_named(raw_dir):
    folder = raw_dir / "celeba"
    faces = [*FACES]
    faces[0], faces[1] = (0, -1, 1, 0), (1, -1, 1, 7)
    write_lists(folder, faces)
    (folder / "img_align_celeba/000003.jpg").unlink()
    (folder / "img_align_celeba/000004.jpg").write_bytes(b"")
    Image.new("RGB", (64, 64)).save(folder / "img_align_celeba/000005.jpg")
    message = refusal(raw_dir)
    for part in (
        "5 problems",
        "000001.jpg: Blond_Hair '0' and Male '-1' are not both -1 or 1",
        "000002.jpg: list_eval_partition.txt does not have 0, 1 or 2 for it",
        "celeba/img_align_celeba/000003.jpg: is listed, but does not exist",
        "000004.jpg: is empty",
        "000005.jpg: is 64x64, but 218x178 is expected",
    ):
        assert part in message


def test_a_truncated_list_and_a_missing_split_are_refused(raw_dir):
    folder = raw_dir / "celeba"
    write_lists(folder, FACES[:5])
    assert "the valid split: no images" in refusal(raw_dir)
    path = folder / "list_attr_celeba.txt"
    path.write_text(path.read_text().replace("5\n", "8\n", 1))
    assert "has 5 images, but its first line says 8" in refusal(raw_dir)


def test_what_is_missing_says_where_to_get_it(raw_dir):
    for path in (raw_dir / "celeba/img_align_celeba").iterdir():
        path.unlink()
    assert "unpack img_align_celeba.zip" in refusal(raw_dir)
    (raw_dir / "celeba/list_attr_celeba.txt").unlink()
    assert "CelebA.html" in refusal(raw_dir)
