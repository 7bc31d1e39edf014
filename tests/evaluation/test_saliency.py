"""Where the branches of a method look."""

import numpy as np
import pandas as pd
import pytest
import torch

from debias_pipeline.evaluation import explain
from debias_pipeline.evaluation.saliency import images_to_explain, occlusion_maps
from debias_pipeline.images import ImageData
from debias_pipeline.methods import Task, get_method
from debias_pipeline.methods.base import Method


class Looks(Method):
    """The debiased branch sees the lower right corner, the bias branch the upper left one."""

    def __init__(self, side, seeds=(3, 4)):
        torch.nn.Module.__init__(self)
        self.recipe = get_method("lff").recipe_type.model_construct(method="looks")
        self.task = Task((side, side, 3), 2, seeds)

    def losses(self, batch, step):
        raise NotImplementedError

    def predict(self, images):
        raise NotImplementedError

    def predict_branches(self, images):
        part = images.shape[-1] // 4
        values = images[0].float() / 255
        corners = values[:, :, -part:, -part:], values[:, :, :part, :part]
        logits = []
        for corner in corners:
            evidence = corner.mean((1, 2, 3)) - 0.5
            # The second seed believes the opposite.
            logits.append(torch.stack([evidence, -evidence], -1) * torch.tensor([[[1]], [[-1]]]))
        return tuple(logits)


@pytest.mark.parametrize("side", [28, 96])
def test_each_branch_is_explained_by_what_it_sees(side):
    torch.manual_seed(0)
    images = torch.randint(0, 90, (3, 3, side, side), dtype=torch.uint8)
    # The third image is black in the corner that the bias branch sees.
    images[:2, :, : side // 4, : side // 4] = 240
    images[2, :, : side // 4, : side // 4] = 0
    images[:, :, -side // 4 :, -side // 4 :] = torch.tensor([240, 0, 240]).view(3, 1, 1, 1).byte()
    maps = occlusion_maps(Looks(side), images)
    assert maps.shape == (3, 2, side, side)
    half = side // 2
    for of_image in maps:
        debiased, bias = (each.clamp_min(0) for each in of_image)
        assert debiased[half:, half:].sum() > 0.9 * debiased.sum() > 0
        assert bias[:half, :half].sum() > 0.9 * bias.sum() > 0
    assert torch.equal(maps, occlusion_maps(Looks(side), images))


def suspects(labels):
    files = [f"{n}.png" for n in range(len(labels))]
    splits = ["test", "valid", "train", "train", *["train"] * len(labels)][: len(labels)]
    return pd.DataFrame({"file": files, "split": splits, "label": labels})


def test_the_extreme_images_of_the_most_suspicious_labels_are_explained():
    chosen = images_to_explain(suspects(["b", "a", "a", "c", "b", "b", "a", "c"]), 2)
    assert chosen["file"].tolist() == ["0.png", "5.png", "1.png", "6.png"]


def test_a_label_of_one_image_is_explained_once():
    assert images_to_explain(suspects(["b", "a", "a"]), 6)["file"].tolist() == [
        "0.png", "1.png", "2.png",
    ]  # fmt: skip


def test_the_first_seed_is_explained_as_it_sees_the_images():
    manifest = pd.DataFrame(
        {
            "image_id": np.arange(4),
            "split": ["train", "train", "valid", "test"],
            "label": np.array([0, 1, 0, 1], np.int16),
            "bias": np.int16(-1),
            "conflicting": pd.array([None] * 4, dtype="boolean"),
            "source": ["3.png", "2.png", "1.png", "0.png"],
        }
    )
    pixels = np.random.default_rng(0).integers(0, 255, (4, 12, 12, 3), dtype=np.uint8)
    data = ImageData.from_catalog(pixels, manifest, torch.device("cpu"))
    found = explain(Looks(12), data, manifest, suspects(["b", "b", "a", "a"]))
    assert found["metadata"] == {"files": ["0.png", "1.png", "2.png", "3.png"], "seed": 3}
    assert np.array_equal(found["tensors"]["images"].numpy(), pixels[::-1])
    bright = pixels[::-1, :3, :3].mean((1, 2, 3)) > 127.5
    assert found["tensors"]["predictions"][:, 1].tolist() == (~bright).astype(int).tolist()
