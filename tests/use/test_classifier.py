"""Trained networks predict as they did in evaluation, and say what is wrong with their input."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from use_checkpoints import NAMES, make_checkpoint

from debias_pipeline.errors import UserError
from debias_pipeline.training import restore_method
from debias_pipeline.use import Classifier, list_images, load_classifier
from debias_pipeline.use.classifier import write_checkpoint

PHOTO_RECIPE = {
    "network": "resnet20", "resize": 24, "centre_crop": 16, "normalise": "imagenet",
    "crop_padding": 2, "flip": True,
}  # fmt: skip


@pytest.mark.parametrize("recipe", [{}, PHOTO_RECIPE])
@pytest.mark.parametrize("method", ["vanilla", "disent"])
def test_probabilities_are_those_of_the_method(
    method: str, recipe: dict[str, Any], images: Callable[..., Any]
) -> None:
    checkpoint = make_checkpoint(method, (20, 18), **recipe)
    pictures = images(5, 20, 18)
    method_ = restore_method(checkpoint, "selected", torch.device("cpu"))
    pixels = method_.recipe.transform.for_evaluation(torch.from_numpy(pictures))
    with torch.no_grad():
        expected = method_.predict(pixels.unsqueeze(0))[1].softmax(-1)
    found = Classifier(checkpoint, "selected", seed=4).probabilities(pictures)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_table_has_names_and_probabilities_that_sum_to_one(
    tmp_path: Path, images: Callable[..., Any]
) -> None:
    for number, picture in enumerate(images(3, 30, 40)):
        Image.fromarray(picture).save(tmp_path / f"{number}.png")
    table = Classifier(make_checkpoint()).predict(*list_images(str(tmp_path)))
    assert list(table.columns) == [
        "file", "prediction", "confidence", *(f"probability_{name}" for name in NAMES),
    ]  # fmt: skip
    assert list(table["file"]) == ["0.png", "1.png", "2.png"]
    probabilities = table.filter(like="probability_").to_numpy()
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-6)
    np.testing.assert_array_equal(probabilities.max(1), table["confidence"])
    assert list(table["prediction"]) == [NAMES[best] for best in probabilities.argmax(1)]


def test_the_first_seed_and_the_last_step_are_the_default() -> None:
    classifier = Classifier(make_checkpoint())
    assert (classifier.rule, classifier.seed) == ("last", 3)


@pytest.mark.parametrize(
    ("choice", "what"),
    [({"rule": "best_on_test"}, ("best_on_test", "last, selected")), ({"seed": 0}, ("0", "3, 4"))],
)
def test_a_choice_that_the_checkpoint_lacks_is_named_with_those_it_has(
    choice: dict[str, Any], what: tuple[str, str]
) -> None:
    with pytest.raises(UserError) as error:
        Classifier(make_checkpoint(), **choice)
    assert all(each in str(error.value) for each in what)


def test_arrays_of_another_shape_or_type_are_refused(images: Callable[..., Any]) -> None:
    classifier = Classifier(make_checkpoint())
    for wrong in (images(2, 10, 12), images(2, 12, 10) / 255, images(2, 12, 10)[0]):
        with pytest.raises(UserError, match=r"uint8 of shape \[n, 12, 10, 3\]"):
            classifier.probabilities(wrong)


def test_the_latest_version_below_a_folder_is_loaded(tmp_path: Path) -> None:
    folder = tmp_path / "06_models/photos/disent"
    for version, method in (("2026-01-01", "vanilla"), ("2026-01-02", "disent")):
        file = folder / "checkpoint.safetensors" / version / "checkpoint.safetensors"
        write_checkpoint(make_checkpoint(method), file)
    found = load_classifier(tmp_path)
    assert found.label_names == list(NAMES)
    other = tmp_path / "06_models/photos/vanilla/checkpoint.safetensors"
    write_checkpoint(make_checkpoint(), other)
    message = error_of(tmp_path)
    assert "photos/disent" in message and "photos/vanilla" in message


def test_files_that_are_no_checkpoint_are_refused(tmp_path: Path) -> None:
    other = tmp_path / "checkpoint.safetensors"
    other.write_bytes(b"something else")
    assert str(other) in error_of(other)
    other.unlink()
    assert "checkpoint.safetensors" in error_of(tmp_path)
    assert "does not exist" in error_of(tmp_path / "nowhere")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_networks_that_are_not_finite_are_refused(tmp_path: Path, value: float) -> None:
    file, checkpoint = tmp_path / "checkpoint.safetensors", make_checkpoint()
    states = [{**state} for state in checkpoint.states["last"]]
    name, tensor = next(iter(states[1].items()))
    states[1][name] = torch.full_like(tensor, value)
    spoilt = replace(checkpoint, states={**checkpoint.states, "last": states})
    write_checkpoint(spoilt, file)
    assert load_classifier(file).seed == 3
    with pytest.raises(UserError, match="not finite") as error:
        load_classifier(file, seed=4)
    assert name in str(error.value) and str(file) in str(error.value)
    assert load_classifier(file, "selected", seed=4).seed == 4


def error_of(model: Path) -> str:
    with pytest.raises(UserError) as error:
        load_classifier(model)
    return str(error.value)


def test_images_are_found_by_folder_table_pattern_and_name(tmp_path: Path) -> None:
    for name in (
        "b.JPG",
        "sub/a.png",
        "notes.txt",
        "sub/@eaDir/a.png",
        ".hidden.png",
        "sub/c.jfif",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    table = tmp_path / "list.csv"
    table.write_text(" path ,note\nsub/a.png,x\nb.JPG,y\n")
    assert list_images(str(tmp_path))[1] == ["b.JPG", "sub/a.png", "sub/c.jfif"]
    assert list_images(str(table))[1] == ["sub/a.png", "b.JPG"]
    for pattern in ("sub/*.png", "sub/**/*.png"):
        assert list_images(f"{tmp_path}/{pattern}")[0] == [tmp_path / "sub/a.png"]
    assert list_images(str(tmp_path / "b.JPG"))[0] == [tmp_path / "b.JPG"]


def test_a_linked_folder_is_named_and_not_passed_over(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    (photos / "b").mkdir(parents=True)
    (photos / "a.png").touch()
    (photos / "link").symlink_to(photos / "b")
    with pytest.raises(UserError, match="link"):
        list_images(str(photos))


@pytest.mark.parametrize("images", [".", "*"])
def test_images_without_the_suffix_of_one_are_named(tmp_path: Path, images: str) -> None:
    for name in ("a.png", "photo.dat"):
        Image.new("RGB", (4, 4)).save(tmp_path / name, "PNG")
    with pytest.raises(UserError, match=r"photo\.dat: is a PNG image"):
        list_images(f"{tmp_path}/{images}")


@pytest.mark.parametrize("images", ["nowhere", "*.bmp", "list.csv", "empty", "empty.csv", "0.csv"])
def test_images_that_cannot_be_found_are_named(tmp_path: Path, images: str) -> None:
    (tmp_path / "list.csv").write_text("path\n../outside.png\n")
    (tmp_path / "empty.csv").write_text("file\n")
    (tmp_path / "0.csv").write_text("")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError) as error:
        list_images(str(tmp_path / images))
    assert images in str(error.value)
    assert "label" not in str(error.value)  # predictions need none
