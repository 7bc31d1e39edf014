"""DeNetDM: its distillation, its networks, and both stages against a literal transcription."""

import numpy as np
import pytest
import torch
from literal_denetdm import LiteralDenetdm
from small_batches import BATCH, SHAPE, batch_of, images_of, labels_of
from small_runs import BIAS_LOGITS, LOGITS, aligned_data, double_run
from torch import nn

from debias_pipeline.methods import Stage, Task, get_method
from training.tiny_runs import double_precision

FIELDS = {"method": "denetdm", "network": "mlp", "lr": 0.002, "batch_size": BATCH, "steps": 50}


def recipe(**changes):
    fields = FIELDS | {"first_steps": 50, "first_lr": 0.001, "first_weight_decay": 0.001}
    return get_method("denetdm").recipe_type(**{**fields, **changes})


@torch.no_grad()
def copy(method, literal, *names):
    for name in names:
        ours, theirs = getattr(method, name), getattr(literal, name)
        mine = getattr(ours, "layers", [ours])
        linear = [each for each in theirs.modules() if isinstance(each, nn.Linear)]
        for one, other in zip(mine, linear, strict=True):
            other.weight.copy_(one.weight[0, 0].T)
            other.bias.copy_(one.bias[0, 0])


@pytest.mark.slow
def test_fifty_steps_of_each_stage_equal_a_literal_transcription():
    """Losses and the parameters of all networks."""
    of_recipe = recipe(lambda_experts=2, lambda_distillation=3, temperature=1.5)
    literal, trained = LiteralDenetdm(of_recipe), LiteralDenetdm(of_recipe)

    def begin(stage, method):
        if stage.name == "branches":
            copy(method, literal, "deep", "shallow", "target", "first_head")

    run = double_run(of_recipe, on_begin=begin)
    assert len(run.steps) == 100
    data = aligned_data()
    labels = torch.from_numpy(data.splits["train"].labels)
    with double_precision():
        for number, (index, loss) in enumerate(run.steps):
            if number == 0:
                literal.start_first_stage()
            if number == 50:
                literal.start_second_stage()
            step = literal.first_step if number < 50 else literal.second_step
            images = data.images[index].movedim(-1, 1)
            assert loss == pytest.approx(step(images, labels[index]), rel=1e-6)
    trained.start_second_stage()
    names = ("deep", "shallow", "target", "first_head", "head")
    copy(run.method, trained, *names)
    for part in names:
        expected = getattr(literal, part).state_dict()
        for name, tensor in getattr(trained, part).state_dict().items():
            torch.testing.assert_close(tensor, expected[name], rtol=1e-5, atol=1e-8)


def test_the_distillation_has_the_value_of_the_published_arithmetic():
    method = get_method("denetdm")(recipe(), Task((2, 2, 3), 3, (0,)))
    value = method._distillation(LOGITS.unsqueeze(0), BIAS_LOGITS.unsqueeze(0))
    assert value.item() == pytest.approx(4.406793, abs=1e-6)


@pytest.mark.parametrize("network", ["mlp", "resnet20"])
def test_each_stage_trains_its_own_networks_from_all_its_images(network):
    random = np.random.default_rng(1)
    method = get_method("denetdm")(recipe(network=network), Task(SHAPE, 10, (0, 1)))
    images, labels = images_of(random) / 50, labels_of(random)
    batch = batch_of(random, images, labels, replicas=2)
    for stage, parts in (
        ("branches", {"deep", "shallow", "first_head"}),
        ("main", {"target", "head"}),
    ):
        method.begin(Stage(stage, 1), None)
        method.zero_grad()
        method.losses(batch, 0).total.sum().backward()
        moved = [name for name, each in method.named_parameters() if each.grad is not None]
        assert {name.split(".")[0] for name in moved} == parts
        assert all(method.get_parameter(name).grad.any() for name in moved)


def test_the_target_network_predicts_and_the_deep_one_is_the_bias_branch():
    method = get_method("denetdm")(recipe(), Task(SHAPE, 10, (0, 1)))
    images = torch.rand(1, 3, 3, 28, 28)
    predicted, of_bias = method.predict_branches(images)
    assert torch.equal(predicted, method.predict(images))
    assert torch.equal(of_bias, method.first_head(method.deep(images))[:, 0])
    assert predicted.shape == of_bias.shape == (2, 3, 10)


@pytest.mark.parametrize("network", ["mlp", "resnet20"])
def test_the_initial_weights_of_a_seed_do_not_depend_on_other_seeds(network):
    build = get_method("denetdm")
    before = torch.get_rng_state()
    together = build(recipe(network=network), Task(SHAPE, 10, (3, 4)))
    alone = build(recipe(network=network), Task(SHAPE, 10, (4,)))
    assert torch.equal(torch.get_rng_state(), before)
    expected = alone.replica_state(0)
    for name, tensor in together.replica_state(1).items():
        assert torch.equal(tensor, expected[name])
    assert not torch.equal(*(together.replica_state(each)["head.bias"] for each in (0, 1)))
