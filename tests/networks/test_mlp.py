"""The multi-layer perceptron against PyTorch's own layers."""

import pytest
import torch

from debias_pipeline.networks import build_encoder
from debias_pipeline.networks.mlp import PUBLISHED_INPUT_SCALE, PUBLISHED_PLACES
from debias_pipeline.randomness import generators

SHAPE = (4, 5, 3)


def mlp(seeds=(0, 1, 2), branches=2):
    return build_encoder("mlp", SHAPE, branches, generators(seeds, "test")).double()


def pixels(replicas, batch=7):
    return torch.randint(0, 256, (replicas, batch, 3, 4, 5), dtype=torch.uint8)


def published(encoder, replica, branch):
    """The network as published code writes it, which flattens channel by channel."""
    state = encoder.branch_state(replica, branch)
    modules = [torch.nn.Flatten()]
    for place in PUBLISHED_PLACES:
        weight = state[f"feature.{place}.weight"]
        layer = torch.nn.Linear(weight.shape[1], weight.shape[0]).double()
        layer.load_state_dict({"weight": weight, "bias": state[f"feature.{place}.bias"]})
        modules += [layer, torch.nn.ReLU()]
    return torch.nn.Sequential(*modules)


def test_it_is_the_published_network_for_every_replica_and_branch():
    encoder, images = mlp(), pixels(3)
    features = encoder(images)
    for replica in range(3):
        for branch in range(2):
            expected = published(encoder, replica, branch)(
                images[replica].double() / 255 * PUBLISHED_INPUT_SCALE
            )
            torch.testing.assert_close(features[replica, branch], expected)


def test_gradients_are_those_of_the_published_network():
    encoder, images = mlp(), pixels(3)
    upstream = torch.randn(3, 2, 7, encoder.features, dtype=torch.float64)
    encoder(images).backward(upstream)
    for replica in range(3):
        for branch in range(2):
            network = published(encoder, replica, branch)
            output = network(images[replica].double() / 255 * PUBLISHED_INPUT_SCALE)
            output.backward(upstream[replica, branch])
            layers = [each for each in network if isinstance(each, torch.nn.Linear)]
            mine = (encoder.first, encoder.second, encoder.third)
            for layer, theirs in zip(mine, layers, strict=True):
                torch.testing.assert_close(layer.bias.grad[replica, branch], theirs.bias.grad)
            for layer, theirs in zip(mine[1:], layers[1:], strict=True):
                torch.testing.assert_close(layer.weight.grad[replica, branch], theirs.weight.grad.T)
            first = encoder.first.weight.grad[replica, :, branch].view(4, 5, 3, -1)
            expected = layers[0].weight.grad.view(-1, 3, 4, 5).permute(2, 3, 1, 0)
            torch.testing.assert_close(first, expected)


def test_pixels_may_be_bytes_or_floats_in_0_to_1():
    encoder, images = mlp(), pixels(3)
    torch.testing.assert_close(encoder(images), encoder(images.double() / 255))


def test_images_shared_by_all_replicas():
    encoder, images = mlp(), pixels(1)
    torch.testing.assert_close(encoder(images), encoder(images.expand(3, -1, -1, -1, -1)))


@pytest.mark.parametrize("branches", [1, 2])
def test_mixed_precision_is_close_and_leaves_gradients_in_the_parameters_type(branches):
    encoder, images = mlp(branches=branches).float(), pixels(3)
    exact = encoder(images)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = encoder(images)
    assert rounded.dtype == torch.bfloat16
    torch.testing.assert_close(rounded.float(), exact, rtol=0.05, atol=0.02)
    rounded.float().sum().backward()
    assert all(each.grad.dtype == torch.float32 for each in encoder.parameters())


def test_a_gradient_penalty_is_refused_instead_of_computed_wrongly():
    encoder, images = mlp(), pixels(3)
    loss = encoder(images).square().sum()
    gradients = torch.autograd.grad(loss, [*encoder.parameters()], create_graph=True)
    penalty = sum(each.square().sum() for each in gradients)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        penalty.backward()


@pytest.mark.slow
@pytest.mark.parametrize("replicas", [1, 3])
def test_pixels_that_require_a_gradient_get_it(replicas):
    encoder = mlp()
    images = torch.rand(replicas, 4, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    # Small enough that no ReLU changes its state.
    assert torch.autograd.gradcheck(encoder, images, eps=1e-5)
