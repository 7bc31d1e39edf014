"""The ranking of images by how much they seem bias-conflicting, against numbers worked by hand."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

from debias_pipeline.evaluation import rank_suspects
from debias_pipeline.images import ImageData
from debias_pipeline.methods import Task, get_method
from debias_pipeline.methods.base import Method
from debias_pipeline.transforms import Transform

# Probabilities of label 0 of eight images, by seed: of the debiased and of the bias branch.
DEBIASED = [[0.9, 0.8, 0.5, 0.5, 0.9, 0.2, 0.9, 0.4], [0.7, 0.8, 0.5, 0.5, 0.7, 0.2, 0.9, 0.4]]
BIASED = [[0.1, 0.8, 0.5, 0.5, 0.2, 0.9, 0.1, 0.4], [0.1, 0.8, 0.5, 0.5, 0.2, 0.9, 0.3, 0.4]]
LABELS = [0, 0, 1, 1, 0, 1, 0, 1]
SPLITS = ["train", "train", "train", "train", "valid", "valid", "test", "test"]
CARD = {"label_names": ["cow", "camel"], "bias_names": ["meadow", "sand"]}


class FixedLogits(Method):
    """Gives the first pixel of an image as its number the logits above."""

    def __init__(self, name: str, **fields: float) -> None:
        torch.nn.Module.__init__(self)
        recipe_type = get_method(name).recipe_type
        self.recipe = recipe_type.model_construct(method=name, **fields)
        self.task = Task((1, 1, 3), 2, (5, 6))
        self.anchor = torch.nn.Parameter(torch.zeros(2))

    def losses(self, batch, step):
        raise NotImplementedError

    def predict(self, images):
        raise NotImplementedError

    def predict_branches(self, images):
        number = images[0, :, 0, 0, 0].long()
        of = [torch.tensor(each)[:, number] for each in (DEBIASED, BIASED)]
        debiased, biased = (torch.stack([each, 1 - each], -1).log() for each in of)
        return debiased, biased


def fixed(name, **fields):
    """The method of this name, whose branches give fixed logits."""
    return type("Fixed", (FixedLogits, get_method(name)), {})(name, **fields)


def manifest(bias=(0, 0, 1, 1, 1, 0, -1, 1)):
    return pd.DataFrame(
        {
            "image_id": np.arange(8) + 100,
            "split": SPLITS,
            "label": np.array(LABELS, np.int16),
            "bias": np.array(bias, np.int16),
            "conflicting": pd.array([None] * 8, dtype="boolean"),
            "source": [f"{number}.png" for number in range(8)],
        }
    )


def sample_weights(first, second):
    """Weights of the training images in seeds 5 and 6; the largest averages are 2 and 4."""
    return pd.concat(
        [
            pd.DataFrame(
                {
                    "image_id": np.arange(4) + 100,
                    "seed": seed,
                    "weight": np.array(weights, np.float32),
                    "loss_average_intrinsic": np.array([2, 1, 4, 1], np.float32),
                    "loss_average_bias": np.array([1, 2, 1, 4], np.float32),
                }
            )
            # The order of the rows does not tell the order of the seeds.
            for seed, weights in ((6, second), (5, first))
        ],
        ignore_index=True,
    )


def ranked(method, weights, table=None):
    table = manifest() if table is None else table
    images = np.repeat(np.arange(8, dtype=np.uint8), 3).reshape(8, 1, 1, 3)
    data = ImageData.from_catalog(images, table, torch.device("cpu"))
    return rank_suspects(method, data, table, weights, CARD, "fp32").set_index("file")


@pytest.fixture
def table():
    # Without a transform, images reach the method as they are.
    assert fixed("lff").recipe.transform == Transform()
    return ranked(fixed("lff"), sample_weights([0.9, 0.1, 0.2, 0.2], [0.5, 0.1, 0.4, 0.4]))


def test_training_images_have_their_mean_weight_over_seeds(table):
    train = table[table["split"] == "train"]
    assert train.loc[[f"{n}.png" for n in range(4)], "weight"].tolist() == pytest.approx(
        [0.7, 0.1, 0.3, 0.3]
    )


def test_other_images_have_the_weight_of_their_losses_relative_to_training(table):
    def weight(debiased, biased, largest):
        b, d = (min(1, -math.log(p) / largest) for p in (biased, debiased))
        return b / (b + d)

    expected = (weight(0.9, 0.2, 2) + weight(0.7, 0.2, 2)) / 2
    assert table.loc["4.png", "weight"] == pytest.approx(expected, abs=1e-6)
    assert table.loc["5.png", "weight"] == pytest.approx(weight(0.8, 0.1, 4), abs=1e-6)
    # The bias branch's loss of 2.3 at the first seed is more than any training image has.
    capped = (weight(0.9, 0.1, 2) + weight(0.9, 0.3, 2)) / 2
    assert table.loc["6.png", "weight"] == pytest.approx(capped, abs=1e-6)


def test_all_splits_are_in_one_ranking(table):
    assert table["rank"].tolist() == list(range(1, 9))
    assert table["weight"].is_monotonic_decreasing
    assert table["split"].value_counts().to_dict() == {"train": 4, "valid": 2, "test": 2}


def test_predictions_are_those_of_the_mean_probability(table):
    assert table.loc["0.png", "prediction"] == "cow"
    assert table.loc["0.png", "confidence"] == pytest.approx(0.8)
    assert table.loc["0.png", "bias_prediction"] == "camel"
    assert table.loc["0.png", "label"] == "cow"


def test_an_unknown_bias_is_empty(table):
    assert pd.isna(table.loc["6.png", "bias"])
    assert table.loc["5.png", "bias"] == "meadow"


def test_equal_weights_are_ordered_by_the_bias_branch_then_by_id():
    equal = sample_weights([0.5] * 4, [0.5] * 4)
    files = ranked(fixed("lff"), equal).query("split == 'train'").index
    # 2 and 3 have the same losses.
    assert list(files) == ["0.png", "2.png", "3.png", "1.png"]


def test_jtt_counts_how_often_an_image_would_be_drawn():
    weights = sample_weights([21, 1, 1, 1], [1, 1, 1, 1]).assign(
        loss_average_intrinsic=np.float32("nan"), loss_average_bias=np.float32("nan")
    )
    table = ranked(fixed("jtt", up=20), weights)
    assert table.loc["0.png", "weight"] == 11
    # The first network mistakes 4 (label 0, probability 0.2) and 5, and gets 7 right.
    assert table.loc[["4.png", "5.png", "7.png"], "weight"].tolist() == [21, 21, 1]
