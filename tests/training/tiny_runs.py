"""Runs of a second on images of 6 × 6 pixels."""

from contextlib import ExitStack, contextmanager
from unittest import mock

import numpy as np
import pandas as pd
import torch

from debias_pipeline.images import ImageData
from debias_pipeline.methods import Task, get_method
from debias_pipeline.transforms import Transform
from recipe_fields import required_fields

SHAPE = (6, 6, 3)


@contextmanager
def double_precision():
    """Make networks, images and losses of double precision."""
    transforms = {name: getattr(Transform, name) for name in ("for_training", "for_evaluation")}

    def doubled(transform):
        def apply(*arguments):
            images = transform(*arguments)
            return images.double() if images.is_floating_point() else images

        return apply

    torch.set_default_dtype(torch.float64)
    with ExitStack() as patches:
        patches.callback(torch.set_default_dtype, torch.float32)
        for name, transform in transforms.items():
            patches.enter_context(mock.patch.object(Transform, name, doubled(transform)))
        yield


def tiny_manifest(random, *, with_bias=True, sizes=(64, 24, 40)):
    images = sum(sizes)
    label = random.integers(0, 3, images)
    label[:3], label[sizes[0] : sizes[0] + 3] = range(3), range(3)
    bias = np.where(random.random(images) < 0.7, label, random.integers(0, 3, images))
    conflicting = pd.array(bias != label, dtype="boolean")
    if not with_bias:
        bias, conflicting = np.full(images, -1), pd.array([pd.NA] * images, dtype="boolean")
    return pd.DataFrame(
        {
            "image_id": np.arange(images),
            "split": np.repeat(["train", "valid", "test"], sizes),
            "label": label.astype(np.int16),
            "bias": bias.astype(np.int16),
            "conflicting": conflicting,
        }
    )


def tiny_data(seed=0, **options):
    random = np.random.default_rng(seed)
    manifest = tiny_manifest(random, **options)
    images = random.integers(0, 256, (len(manifest), *SHAPE), dtype=np.uint8)
    # Something to learn: the brighter half tells the label.
    images //= 4
    for label in range(3):
        images[manifest["label"] == label, 2 * label : 2 * label + 2] += 190
    return ImageData.from_catalog(images, manifest, torch.device("cpu"))


def tiny_recipe(method, **changes):
    fields = {"method": method, "network": "mlp", "lr": 0.01, "batch_size": 16, "steps": 30}
    fields["eval_every"] = 10
    fields |= required_fields(method)
    if method in ("disent", "disent_be"):
        fields |= {
            "lambda_dis": 10, "lambda_swap_b": 10, "lambda_swap": 1, "swap_start": 12,
            "decay_every": 10, "gamma": 0.5,
        }  # fmt: skip
    if method == "jtt":
        fields |= {"first_steps": 8, "up": 3}
    if method in ("afr", "dfr", "denetdm"):
        fields |= {"first_steps": 8}
    if method == "lc":
        fields |= {"mixup_steps": 12}
    if method in ("selecmix", "lff_selecmix"):
        fields |= {"mini_batches": 2}
    if method in ("lff_be", "disent_be"):
        fields |= {"ensemble_steps": 8, "ensemble_confidence": 0.4}
    return get_method(method).recipe_type(**{**fields, **changes})


def brief(method):
    """Return changes of `tiny_recipe`: two steps of every stage."""
    fields = {"steps": 2, "eval_every": 1}
    of_method = {
        "disent": {"swap_start": 1},
        "jtt": {"first_steps": 2},
        "lff_be": {"ensemble_steps": 2},
    }
    return fields | of_method.get(method, {})


def augmented(method):
    """Return changes of `tiny_recipe`: a convolutional encoder, random crops and flips."""
    convolutional = {"network": "conv4", "crop_padding": 1, "flip": True, "normalise": "cifar10"}
    return brief(method) | convolutional


def tiny_method(recipe, seeds):
    return get_method(recipe.method)(recipe, Task(SHAPE, 3, seeds))


def steps_before_main(recipe):
    """The steps of stages that are not evaluated."""
    stages = tiny_method(recipe, (0,)).stages()
    return sum(stage.steps for stage in stages if not stage.evaluated)
