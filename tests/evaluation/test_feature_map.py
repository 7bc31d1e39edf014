"""Maps of the features of both branches, and the training images nearest to swapped features."""

import numpy as np
import pandas as pd
import pytest
import torch

from debias_pipeline.evaluation import map_features
from debias_pipeline.images import ImageData
from debias_pipeline.methods import Task, get_method
from debias_pipeline.methods.base import Method
from debias_pipeline.networks import ImageNetwork


class Channel(ImageNetwork):
    """Its features are a channel of the image, in one column per value."""

    def __init__(self, channel):
        super().__init__()
        self.channel = channel
        self.weight = torch.nn.Parameter(torch.ones(1))

    def forward(self, images):
        value = (images[:, :, self.channel, 0, 0].float() * 255 / 20).round().long()
        return torch.nn.functional.one_hot(value, 4).float().unsqueeze(1) * self.weight


class Disentangled(Method):
    """The debiased branch sees the red channel, which is the label; the bias branch the green."""

    def __init__(self):
        torch.nn.Module.__init__(self)
        self.recipe = get_method("lff").recipe_type.model_construct(method="disentangled")
        self.task = Task((4, 4, 3), 3, (7,))
        self.red, self.green = Channel(0), Channel(1)

    def losses(self, batch, step):
        raise NotImplementedError

    def predict(self, images):
        return self.red(images.float() / 255)[:, 0]

    def predict_branches(self, images):
        return self.predict(images), self.green(images.float() / 255)[:, 0]


@pytest.fixture
def manifest():
    label, bias = np.divmod(np.arange(180) % 9, 3)
    return pd.DataFrame(
        {
            "image_id": np.arange(180) + 1000,
            "split": np.repeat(["train", "test"], 90),
            "label": label.astype("int16"),
            "bias": bias.astype("int16"),
            "conflicting": label != bias,
        }
    )


def data_of(manifest):
    images = np.zeros((len(manifest), 4, 4, 3), np.uint8)
    images[..., 0] = 20 * manifest["label"].to_numpy()[:, None, None]
    images[..., 1] = 20 * manifest["bias"].to_numpy()[:, None, None]
    return ImageData.from_catalog(images, manifest, torch.device("cpu"), ("train", "test"))


def test_swapped_features_are_near_images_of_the_label_of_one_and_the_bias_of_the_other(manifest):
    found = map_features(Disentangled(), data_of(manifest), manifest)
    a, b, nearest = (found["tensors"][name].numpy() for name in ("mapped", "partners", "nearest"))
    assert set(manifest["split"][a]) == {"test"}
    assert set(manifest["split"][nearest.ravel()]) == {"train"}
    label, bias = manifest["label"].to_numpy(), manifest["bias"].to_numpy()
    assert (label[nearest] == label[a][:, None]).all()
    assert (bias[nearest] == bias[b][:, None]).all()
    assert (a != b).all()
    assert set(a) == set(b)


def test_images_of_equal_features_are_together_on_the_map(manifest):
    tensors = map_features(Disentangled(), data_of(manifest), manifest)["tensors"]
    places = tensors["places"].numpy()
    assert places.shape == (90, 2, 2) and 0 <= places.min() <= places.max() <= 1
    for branch, column in enumerate(("label", "bias")):
        value = manifest[column].to_numpy()[tensors["mapped"]]
        centres = np.stack([places[value == each, branch].mean(0) for each in range(3)])
        distances = np.linalg.norm(places[:, branch, None] - centres, axis=-1)
        assert (distances.argmin(1) == value).all()
    again = map_features(Disentangled(), data_of(manifest), manifest)["tensors"]
    assert torch.equal(tensors["places"], again["places"])


def test_without_networks_of_a_bias_branch_nothing_is_mapped(manifest):
    class OneBranch(Disentangled):
        def predict_branches(self, images):
            return self.predict(images), self.predict(images)

    method = OneBranch()
    del method.green
    tensors = map_features(method, data_of(manifest), manifest)["tensors"]
    assert {len(each) for each in tensors.values()} == {0}
    assert tensors["nearest"].shape == (0, 4)
