"""Published checkpoints, there and back, and what is not opened."""

import os
from functools import cache

import numpy as np
import pytest
import torch
from tiny_runs import SHAPE, tiny_data, tiny_method, tiny_recipe
from torch import nn

from debias_pipeline.errors import UserError
from debias_pipeline.evaluation import predict
from debias_pipeline.methods import Task
from debias_pipeline.training import Checkpoint, restore_method, train
from debias_pipeline.training.published_checkpoint import read_published, write_published


class PublishedMLP(nn.Module):
    """The network of published scripts, written from the names and shapes of its files."""

    def __init__(self):
        super().__init__()
        inputs = SHAPE[0] * SHAPE[1] * SHAPE[2]
        layers = [nn.Linear(inputs, 100), nn.ReLU(), nn.Linear(100, 100), nn.ReLU()]
        self.feature = nn.Sequential(*layers, nn.Linear(100, 16), nn.ReLU())
        self.fc = nn.Linear(32, 3)

    def extract(self, images):
        return self.feature(images.reshape(len(images), -1) / 255)


@cache
def trained(network="mlp", seeds=(3, 4)):
    recipe = tiny_recipe("disent", network=network, steps=1, eval_every=1)
    method = tiny_method(recipe, seeds)
    result = train(method, recipe, tiny_data())
    return Checkpoint.of_run(result.checkpoints, recipe.model_dump(), Task(SHAPE, 3, seeds), {})


def predictions(checkpoint, choice="last"):
    return predict(
        restore_method(checkpoint, choice, torch.device("cpu")), tiny_data(), "test", "fp32"
    ).labels


def read(folder, network="mlp", classes=3):
    return read_published(
        folder, tiny_recipe("disent", network=network).model_dump(), SHAPE, classes
    )


@pytest.mark.parametrize("network", ["mlp", "resnet20"])
def test_round_trip(network, tmp_path):
    checkpoint = trained(network)
    names = [path.name for path in write_published(checkpoint, "last", 4, tmp_path)]
    assert names == ["best_model_l.th", "best_model_b.th"]
    back = read(tmp_path, network)
    ours = checkpoint.states["last"][1]
    assert all(torch.equal(tensor, ours[name]) for name, tensor in back.states["last"][0].items())
    assert back.steps == {"last": [checkpoint.steps["last"][1]]}
    np.testing.assert_array_equal(predictions(back)[0], predictions(checkpoint)[1])


def test_older_scripts_read_our_files_and_see_the_same_predictions(tmp_path):
    checkpoint = trained()
    write_published(checkpoint, "last", 3, tmp_path)
    networks = {}
    for suffix in ("l", "b"):
        saved = torch.load(tmp_path / f"best_model_{suffix}.th", weights_only=True)
        assert set(saved) == {"steps", "state_dict", "optimizer"}
        networks[suffix] = PublishedMLP()
        networks[suffix].load_state_dict(saved["state_dict"])
        torch.optim.Adam(networks[suffix].parameters()).load_state_dict(saved["optimizer"])
    data = tiny_data()
    images = data.gather(data.splits["test"].rows).movedim(-1, 1) / 255
    both = torch.cat([networks["l"].extract(images), networks["b"].extract(images)], 1)
    theirs = networks["l"].fc(both).argmax(1)
    np.testing.assert_array_equal(theirs, predictions(checkpoint)[0])


@pytest.mark.slow
def test_resnet18_files_have_torchvisions_names_and_a_wide_head(tmp_path):
    write_published(trained("resnet18"), "last", 3, tmp_path)
    state = torch.load(tmp_path / "best_model_l.th", weights_only=True)["state_dict"]
    assert state["fc.weight"].shape == (3, 1024)
    assert {"conv1.weight", "bn1.running_mean", "layer4.1.conv2.weight"} <= set(state)


def test_an_unknown_rule_or_seed_is_an_error_with_the_known_ones(tmp_path):
    checkpoint = trained()
    with pytest.raises(UserError, match=r"'best'.*best_on_test"):
        write_published(checkpoint, "best", 3, tmp_path)
    with pytest.raises(UserError, match=r"'9'.*3, 4"):
        write_published(checkpoint, "last", 9, tmp_path)


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


def test_a_pickle_bomb_is_not_opened(tmp_path):
    write_published(trained(), "last", 3, tmp_path)
    exploded = tmp_path / "exploded"
    torch.save(
        {"steps": 1, "state_dict": {}, "optimizer": Bomb(exploded)}, tmp_path / "best_model_b.th"
    )
    with pytest.raises(UserError, match=r"best_model_b.th contains more than tensors"):
        read(tmp_path)
    assert not exploded.exists()


@pytest.mark.parametrize("kept", [0, 10, 2000])
def test_a_truncated_file_is_told(kept, tmp_path):
    write_published(trained(), "last", 3, tmp_path)
    path = tmp_path / "best_model_l.th"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(UserError, match=r"best_model_l.th .*(damaged|truncated)"):
        read(tmp_path)


def test_missing_files_and_other_contents_are_told(tmp_path):
    with pytest.raises(UserError, match=r"best_model_l.th does not exist"):
        read(tmp_path)
    for suffix in ("l", "b"):
        torch.save([1, 2], tmp_path / f"best_model_{suffix}.th")
    with pytest.raises(UserError, match="is not a published checkpoint"):
        read(tmp_path)


def test_files_of_another_network_are_told(tmp_path):
    write_published(trained(), "last", 3, tmp_path)
    with pytest.raises(UserError, match=r"not those of disent with network resnet20"):
        read(tmp_path, "resnet20")
    with pytest.raises(
        UserError, match=r"fc.weight has shape \[3, 32\], the network needs \[7, 32\]"
    ):
        read(tmp_path, classes=7)


def change_state(path, change):
    saved = torch.load(path, weights_only=True)
    torch.save({**saved, "state_dict": change(saved["state_dict"])}, path)


def test_names_may_have_the_prefix_of_data_parallel(tmp_path):
    checkpoint = trained()
    for path in write_published(checkpoint, "last", 3, tmp_path):
        change_state(path, lambda state: {f"module.{name}": each for name, each in state.items()})
    np.testing.assert_array_equal(predictions(read(tmp_path))[0], predictions(checkpoint)[0])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_tensors_that_are_not_finite_are_refused_and_the_first_is_named(value, tmp_path):
    write_published(trained(), "last", 3, tmp_path)
    first = "feature.2.weight"

    def spoil(state):
        for name in (first, "fc.bias"):
            state[name].view(-1)[0] = value
        return state

    change_state(tmp_path / "best_model_b.th", spoil)
    with pytest.raises(UserError, match=rf"best_model_b.th: {first} .*not finite"):
        read(tmp_path)
