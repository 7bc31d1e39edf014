"""Weights that torchvision networks start from."""

import re
from collections import OrderedDict
from urllib.error import URLError

import pytest
import torch
import torchvision
from pydantic import ValidationError
from safetensors.torch import save_file

from debias_pipeline.errors import UserError
from debias_pipeline.methods import Recipe, Task, get_method, method_names
from debias_pipeline.networks import build_encoder
from debias_pipeline.networks.encoder import Encoder
from debias_pipeline.randomness import generators
from recipe_fields import required_fields

# The smallest with published weights.
NETWORK, FILE = "shufflenet_v2_x1_0", "shufflenetv2_x1-5666bf0f80.pth"


@pytest.fixture(scope="module")
def published():
    """What torchvision publishes of a network, with the head of 1,000 classes."""
    torch.manual_seed(3)
    state = torchvision.models.get_model(NETWORK, weights=None).state_dict()
    state["conv1.1.running_mean"] += 0.25
    return state


def build(weights, name=NETWORK, seeds=(0, 1)):
    return build_encoder(name, (32, 32, 3), 2, generators(seeds, "test"), str(weights))


def saved(state, folder, name="weights.pth"):
    path = folder / name
    torch.save(state, path)
    return path


def assert_starts_from(encoder, state):
    for branches in encoder.replicas:
        for branch in branches:
            for name, tensor in branch.state_dict().items():
                assert torch.equal(tensor, state[name]), name


def without(state, *names):
    return {name: tensor for name, tensor in state.items() if name not in names}


def test_all_seeds_and_branches_start_from_the_file_and_its_head_is_ignored(published, tmp_path):
    assert_starts_from(build(saved(published, tmp_path)), published)


@pytest.mark.slow
def test_other_usual_forms_of_a_file_are_read(published, tmp_path):
    forms = {
        "a dict around it": {"state_dict": published, "epoch": 3},
        "DataParallel": OrderedDict((f"module.{name}", each) for name, each in published.items()),
        "a head of two classes": {**published, "fc.weight": torch.ones(2, 1024)},
        "no head": without(published, "fc.weight", "fc.bias"),
    }
    for form in forms.values():
        assert_starts_from(build(saved(form, tmp_path), seeds=[0]), published)
    save_file(published, tmp_path / "weights.safetensors")
    assert_starts_from(build(tmp_path / "weights.safetensors", seeds=[0]), published)


@pytest.mark.slow
def test_names_of_published_densenets_are_understood(tmp_path):
    state = torchvision.models.densenet121(weights=None).state_dict()
    old = {re.sub(r"(norm|conv)([12])\.", r"\1.\2.", name): each for name, each in state.items()}
    old = {name: each for name, each in old.items() if "num_batches_tracked" not in name}
    assert any("denselayer1.norm.1.weight" in name for name in old)
    old["features.conv0.weight"] = old["features.conv0.weight"] + 1
    made = build(saved(old, tmp_path), "densenet121", [0])
    expected = {**state, "features.conv0.weight": old["features.conv0.weight"]}
    assert_starts_from(made, expected)


def test_the_draws_of_a_seed_do_not_depend_on_the_weights(published, tmp_path):
    """The head, which is drawn after the encoder, stays the same."""
    with_weights, without_weights = generators([5], "test"), generators([5], "test")
    path = saved(published, tmp_path)
    build_encoder(NETWORK, (32, 32, 3), 2, with_weights, str(path))
    build_encoder(NETWORK, (32, 32, 3), 2, without_weights)
    assert torch.equal(with_weights[0].get_state(), without_weights[0].get_state())


class Foreign:
    """Something that only pickle could make."""


def test_files_that_cannot_be_used_are_refused_in_one_line(published, tmp_path):
    nan = published["stage2.0.branch2.0.weight"].clone()
    nan[0, 0, 0, 0] = float("nan")
    (tmp_path / "text.pth").write_text("not a checkpoint")
    (tmp_path / "text.safetensors").write_text("not a checkpoint")
    cases = {
        tmp_path / "missing.pth": "no such file; use none, imagenet or a local file",
        tmp_path: "no such file",
        tmp_path / "text.pth": "damaged",
        tmp_path / "text.safetensors": "damaged",
        saved({"model": Foreign()}, tmp_path, "a.pth"): "more than tensors.*was not opened",
        saved([1, 2], tmp_path, "b.pth"): "not a state dict",
        saved(without(published, "conv1.0.weight"), tmp_path, "c.pth"): "missing.*conv1.0.weight",
        saved({**published, "odd": nan}, tmp_path, "d.pth"): "not expected: odd",
        saved({**published, "module.odd": nan}, tmp_path, "g.pth"): "not expected: module.odd",
        saved({**published, "conv1.0.weight": nan}, tmp_path, "e.pth"): "conv1.0.weight has shape",
        saved({**published, "stage2.0.branch2.0.weight": nan}, tmp_path, "f.pth"): (
            r"tensor stage2\.0\.branch2\.0\.weight has values that are not finite"
        ),
    }
    for path, message in cases.items():
        with pytest.raises(UserError, match=message) as refused:
            build(path)
        assert f"recipe.weights={path}" in str(refused.value)
        assert "\n" not in str(refused.value)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    return tmp_path / "hub/checkpoints"


def test_imagenet_takes_the_file_that_torch_hub_has(published, hub):
    hub.mkdir(parents=True)
    saved(published, hub, FILE)
    assert_starts_from(build("imagenet", seeds=[0]), published)


def test_a_missing_download_is_fetched_once_by_its_published_address(published, hub, monkeypatch):
    asked = []

    def fetch(url, path, hash_prefix):
        asked.append((url, hash_prefix))
        torch.save(published, path)

    monkeypatch.setattr(torch.hub, "download_url_to_file", fetch)
    for _ in range(2):
        assert_starts_from(build("imagenet", seeds=[0]), published)
    assert asked == [(f"https://download.pytorch.org/models/{FILE}", "5666bf0f80")]


@pytest.mark.parametrize("error", [URLError("no network"), RuntimeError("invalid hash value")])
def test_a_failed_download_tells_the_file_and_where_to_put_it(hub, monkeypatch, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    with pytest.raises(UserError) as refused:
        build("imagenet")
    for part in (FILE, str(hub), "recipe.weights=<path>"):
        assert part in str(refused.value)
    assert "\n" not in str(refused.value)


def test_networks_without_published_weights_refuse_them():
    with pytest.raises(ValidationError, match=r"mlp .*resnet18"):
        Recipe(method="vanilla", network="mlp", weights="imagenet", lr=1, batch_size=1, steps=1)


@pytest.mark.parametrize("method", method_names())
def test_every_method_starts_its_encoders_from_the_weights_of_the_recipe(
    method, published, tmp_path
):
    fields = {"network": NETWORK, "weights": str(saved(published, tmp_path)), "lr": 0.01}
    fields |= {"method": method, "batch_size": 4, "steps": 9, **required_fields(method)}
    recipe = get_method(method).recipe_type(**fields)
    made = get_method(method)(recipe, Task((32, 32, 3), 3, [0]))
    # The network of SelecMix that compares images is not pretrained, as published.
    encoders = [
        each
        for name, each in made.named_modules()
        if isinstance(each, Encoder) and not name.startswith("similarity.")
    ]
    assert encoders
    for encoder in encoders:
        assert_starts_from(encoder, published)
