"""Stacked layers equal separate ones."""

import pytest
import torch

from debias_pipeline.networks import StackedLinear, build_encoder
from debias_pipeline.networks.stacked import SharedInputLinear
from debias_pipeline.randomness import generators


def test_every_replica_and_branch_is_a_linear_layer_of_its_own():
    layer = StackedLinear(5, 4, branches=2, generators=generators([0, 1, 2], "test"))
    inputs = torch.randn(3, 2, 7, 5)
    outputs = layer(inputs)
    for replica in range(3):
        for branch in range(2):
            weight, bias = layer.weight[replica, branch], layer.bias[replica, branch]
            expected = inputs[replica, branch] @ weight + bias
            torch.testing.assert_close(outputs[replica, branch], expected)


@pytest.mark.parametrize("replicas", [1, 3])
@pytest.mark.parametrize("shared_by_replicas", [True, False])
def test_a_shared_input_gives_what_copies_of_it_give(replicas, shared_by_replicas):
    seeds = range(replicas)
    shared = SharedInputLinear(6, 4, branches=2, generators=generators(seeds, "test"))
    plain = StackedLinear(6, 4, branches=2, generators=generators(seeds, "test"))
    inputs = torch.randn(1 if shared_by_replicas else replicas, 7, 6)
    copies = inputs.unsqueeze(1).expand(replicas, 2, 7, 6)
    wide = 0.5 * (inputs @ shared.weight.flatten(2))
    outputs = wide.unflatten(2, (2, 4)).transpose(1, 2) + shared.bias.unsqueeze(2)
    torch.testing.assert_close(outputs, plain(0.5 * copies))


def test_initial_weights_are_those_of_torch_and_do_not_depend_on_the_number_of_replicas():
    alone = StackedLinear(400, 300, branches=2, generators=generators([7], "test"))
    among = StackedLinear(400, 300, branches=2, generators=generators([3, 7], "test"))
    assert torch.equal(alone.weight[0], among.weight[1])
    assert torch.equal(alone.bias[0], among.bias[1])
    bound = 1 / 400**0.5
    assert alone.weight.abs().max() <= bound
    assert alone.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.02)


def test_mlp_has_the_published_widths_and_divides_by_255_once_more():
    encoder = build_encoder("mlp", (28, 28, 3), 1, generators([0], "test"))
    shapes = [tuple(each.shape) for each in encoder.parameters() if each.dim() == 4]
    assert shapes == [(1, 2352, 1, 100), (1, 1, 100, 100), (1, 1, 100, 16)]
    images = torch.rand(1, 5, 3, 28, 28)
    hidden = images[0].permute(0, 2, 3, 1).reshape(5, -1) / 255
    hidden = torch.relu(hidden @ encoder.first.weight[0, :, 0] + encoder.first.bias[0, 0])
    hidden = torch.relu(hidden @ encoder.second.weight[0, 0] + encoder.second.bias[0, 0])
    hidden = torch.relu(hidden @ encoder.third.weight[0, 0] + encoder.third.bias[0, 0])
    torch.testing.assert_close(encoder(images)[0, 0], hidden)
