"""What is promised of every encoder that a recipe may name, at the smallest image it works on."""

import pytest
import torch

from debias_pipeline.errors import RecipeError, UserError
from debias_pipeline.losses import cross_entropy
from debias_pipeline.methods import Recipe, Task, get_method
from debias_pipeline.networks import build_encoder, encoder_names, smallest_image
from debias_pipeline.randomness import generators

BATCH, CLASSES = 4, 3
# They take a second to build: for `make test` only.
LARGE = ("densenet121", "resnet34", "resnet50")
NAMES = [
    pytest.param(name, marks=pytest.mark.slow) if name in LARGE else name
    for name in encoder_names()
]


def side(name):
    # A single pixel would hide what an encoder makes of rows and columns.
    return max(smallest_image(name), 8)


def images_of(name, replicas=1):
    random = torch.Generator().manual_seed(0)
    shape = (replicas, BATCH, 3, side(name), side(name))
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=random)


def backward(name, seeds):
    """Logits of a method on the same images for all seeds, and its state, gradients for weights."""
    recipe = Recipe(method="vanilla", network=name, lr=0.01, batch_size=BATCH, steps=1)
    method = get_method("vanilla")(recipe, Task((side(name), side(name), 3), CLASSES, seeds))
    labels = torch.arange(BATCH).remainder(CLASSES).expand(len(seeds), -1)
    cross_entropy(method.predict(images_of(name)), labels).mean(1).sum().backward()
    with torch.no_grad():
        logits = method.eval().predict(images_of(name))
        for parameter in method.parameters():
            parameter.copy_(parameter.grad)
    return logits, method


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_seed_trains_the_same_alone_and_among_others_and_draws_from_no_global_generator(name):
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    (logits, alone), (others, among) = backward(name, [7]), backward(name, [3, 7])
    assert torch.equal(before, torch.random.get_rng_state())
    assert logits.shape == (1, BATCH, CLASSES) and logits.isfinite().all()
    ours, theirs = among.replica_state(1), alone.replica_state(0)
    assert ours.keys() == theirs.keys()
    # Some processors sum products of one network and of two in another order.
    assert_near(others[1], logits[0])
    for key, tensor in theirs.items():
        assert_near(ours[key], tensor)


def assert_near(ours, theirs):
    ours, theirs = ours.double(), theirs.double()
    assert (ours - theirs).norm() <= 1e-3 * theirs.norm() + 1e-4


@pytest.mark.parametrize("name", NAMES)
def test_features_have_the_promised_axes_and_images_may_be_shared(name):
    shape = (smallest_image(name), smallest_image(name), 3)
    encoder = build_encoder(name, shape, 2, generators([0, 1], "test")).eval()
    images = images_of(name)[..., : shape[0], : shape[1]]
    features = encoder(images)
    assert features.shape == (2, 2, BATCH, encoder.features)
    torch.testing.assert_close(encoder(images.expand(2, -1, -1, -1, -1)), features)


@pytest.mark.parametrize("name", [each for each in encoder_names() if smallest_image(each) > 1])
def test_images_that_are_too_small_are_refused_with_what_to_do(name):
    recipe = Recipe(method="vanilla", network=name, lr=0.01, batch_size=BATCH, steps=1)
    small = smallest_image(name) - 1
    with pytest.raises(RecipeError, match=f"recipe.network={name}; .*try recipe.resize=224"):
        recipe.network_input((small, 300, 3))
    assert recipe.network_input((small + 1, 300, 3)) == (small + 1, 300, 3)
    encoder = build_encoder(name, (small, small, 3), 1, generators([0], "test"))
    with pytest.raises(RuntimeError):
        encoder(images_of(name)[..., :small, :small])


def test_other_networks_are_refused_with_the_list():
    for name in ("resnet19", "squeezenet1_0", "vit_b_16"):
        with pytest.raises(ValueError, match=r"Choose from: conv4, densenet121, mlp"):
            Recipe(method="vanilla", network=name, lr=0.01, batch_size=1, steps=1)
        with pytest.raises(UserError, match="Unknown network"):
            build_encoder(name, (32, 32, 3), 1, generators([0], "test"))
