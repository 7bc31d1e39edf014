"""Convolutional encoders: the architectures, and replicas that do not know of each other."""

import pytest
import torch
import torchvision

from debias_pipeline.networks import build_encoder
from debias_pipeline.randomness import generators


def build(name, seeds=(0,), branches=1, shape=(32, 32, 3)):
    return build_encoder(name, shape, branches, generators(seeds, "test"))


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_resnet20_has_the_size_that_its_paper_gives():
    """0.27 M parameters with the head of 10 labels (He et al. 2016, table 6)."""
    encoder = build("resnet20")
    assert encoder.features == 64
    assert round((count(encoder) + 64 * 10 + 10) / 1e6, 2) == 0.27
    convolutions = [each for each in encoder.modules() if isinstance(each, torch.nn.Conv2d)]
    assert len(convolutions) == 19
    assert {each.kernel_size for each in convolutions} == {(3, 3)}


def test_resnet20_halves_the_image_twice_and_its_new_channels_start_at_zero():
    backbone = build("resnet20").replicas[0][0].eval()
    block = backbone.layers[3]
    inputs = torch.rand(2, 16, 8, 8)
    shortcut = block._shortcut(inputs)
    assert shortcut.shape == (2, 32, 4, 4)
    assert torch.equal(shortcut[:, 8:24], inputs[:, :, ::2, ::2])
    assert shortcut[:, :8].abs().sum() == shortcut[:, 24:].abs().sum() == 0
    assert backbone.layers(torch.rand(1, 16, 32, 32)).shape == (1, 64, 8, 8)


def test_resnet18_is_torchvisions_up_to_the_average_pooling():
    encoder = build("resnet18").eval()
    assert encoder.features == 512
    theirs = torchvision.models.resnet18(weights=None).eval()
    ours = encoder.replicas[0][0]
    state = {**theirs.state_dict(), **ours.state_dict()}
    theirs.load_state_dict(state)
    theirs.fc = torch.nn.Identity()
    images = torch.rand(1, 2, 3, 32, 32)
    torch.testing.assert_close(encoder(images)[0, 0], theirs(images[0]))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet20", "resnet18"])
def test_initial_weights_do_not_depend_on_the_number_of_replicas(name):
    alone, among = build(name, seeds=[7], branches=2), build(name, seeds=[3, 7], branches=2)
    for ours, theirs in zip(
        alone.replicas[0].parameters(), among.replicas[1].parameters(), strict=True
    ):
        assert torch.equal(ours, theirs)
    first, second = (branch.conv1.weight for branch in alone.replicas[0])
    assert not torch.equal(first, second)


def test_building_leaves_the_global_generator_alone():
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    build("resnet20")
    assert torch.equal(before, torch.random.get_rng_state())
