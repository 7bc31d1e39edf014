"""Images that pass through networks are counted, of all stages and networks of a method."""

import pytest
import torch
from tiny_runs import SHAPE, tiny_data, tiny_method, tiny_recipe
from torch import nn

from debias_pipeline.evaluation import predict
from debias_pipeline.methods import method_names
from debias_pipeline.networks import ImageNetwork
from debias_pipeline.training import TrainingServices, train
from debias_pipeline.training.cost import Cost
from debias_pipeline.training.stage import RunningStage

# 64 training images, batches of 16, 12 steps of the main stage.
BATCH, STEPS, TRAIN = 16, 12, 64
MAIN = BATCH * STEPS
# Images forward and backward of one seed, worked out from the published algorithms.
EXPECTED = {
    "vanilla": (MAIN, MAIN),
    # Two networks see every batch.
    "disent": (2 * MAIN, 2 * MAIN),
    # 8 steps of the first network, and a pass over the training split for the error set.
    "jtt": (8 * BATCH + TRAIN + MAIN, 8 * BATCH + MAIN),
    # The last layer is trained on stored features.
    "afr": (8 * BATCH + TRAIN, 8 * BATCH),
    # First deep and shallow are trained, then the target while the two are frozen.
    "denetdm": (2 * 8 * BATCH + 3 * MAIN, 2 * 8 * BATCH + MAIN),
    # Five voters, each with a pass over the training split; then two networks.
    "lff_be": (5 * (8 * BATCH + TRAIN) + 2 * MAIN, 5 * 8 * BATCH + 2 * MAIN),
    # Both networks see the batch in each of the two updates, one of them is trained.
    "rebias": (4 * MAIN, 2 * MAIN),
    # In the first pass of four steps f_b alone; a pass over the images after each pass.
    "echoes": (2 * MAIN - 4 * BATCH + 3 * TRAIN, 2 * MAIN - 4 * BATCH),
}


@pytest.mark.parametrize("method", EXPECTED)
def test_images_of_all_stages_and_networks_are_counted_for_one_seed(method):
    recipe = tiny_recipe(method, steps=STEPS, eval_every=STEPS)
    passes = train(tiny_method(recipe, (0, 1)), recipe, tiny_data()).image_passes
    assert (passes["forward"], passes["backward"]) == EXPECTED[method]


def test_evaluations_and_rehearsals_are_not_counted():
    recipe = tiny_recipe("vanilla")
    method, data = tiny_method(recipe, (0,)), tiny_data()
    stage = RunningStage(method, recipe, data, TrainingServices(method, data, "fp32"), 0)
    cost = Cost()
    with cost.counting(method):
        stage.train_step("fp32")
        stage.rehearse("fp32")
        with cost.paused():
            predict(method, data, "test", "fp32")
    stage.train_step("fp32")
    assert cost.image_passes() == {"forward": BATCH, "backward": BATCH}


def test_what_a_snapshot_of_an_earlier_version_does_not_say_is_unknown():
    cost = Cost()
    cost.load_state_dict({})
    assert cost.image_passes() is None
    cost.load_state_dict({"image_passes": {"forward": 7, "backward": 5}, "seconds": 2.0})
    assert cost.image_passes() == {"forward": 7, "backward": 5}
    assert cost.seconds_before() == 2.0


@pytest.mark.parametrize("name", method_names())
def test_every_network_that_gets_images_is_counted(name):
    method = tiny_method(tiny_recipe(name), (0,))
    uncounted = []

    def check(module, inputs):
        is_network = any(isinstance(each, ImageNetwork) for each in module.modules())
        if isinstance(inputs[0], torch.Tensor) and inputs[0].ndim == 5 and not is_network:
            uncounted.append(type(module).__name__)

    handle = nn.modules.module.register_module_forward_pre_hook(check)
    try:
        method.predict_branches(torch.zeros(1, 2, 3, *SHAPE[:2]))
    finally:
        handle.remove()
    assert uncounted == []
