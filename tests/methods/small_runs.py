"""Runs of the training loop in double precision on a handful of images, step by step."""

import numpy as np
import torch
from small_batches import IMAGES, SHAPE, labels_of

from debias_pipeline.images import ImageData, Split
from debias_pipeline.methods import Task, get_method
from debias_pipeline.training import train
from training.tiny_runs import double_precision

# Logits of f_d and f_b on four images, and the images' labels and bias: the inputs of published
# arithmetic that was worked out apart from this project.
LOGITS = torch.tensor([[1, 0, -1], [0.5, 0.5, 0], [-1, 2, 0], [0, 0, 1]])
BIAS_LOGITS = torch.tensor([[2, 0, 0], [0, 0, 0.5], [0, 1.5, 0], [0, 3, 0]])
LABELS, BIAS = torch.tensor([0, 1, 1, 2]), torch.tensor([0, 2, 1, 1])


def data_of(random, labels, bias):
    """Training images of noise, the first of them in the other splits too."""
    labels, bias = np.asarray(labels), np.asarray(bias)
    rows = np.arange(IMAGES)
    every = Split(rows, torch.from_numpy(rows), labels, bias, (labels != bias).astype(np.int8))
    few = Split(rows[:9], torch.arange(9), labels[:9], bias[:9], every.conflicting[:9])
    images = torch.from_numpy(random.random((IMAGES, *SHAPE)) * 50)
    return ImageData(images, {"train": every, "valid": few, "test": few})


def aligned_data():
    """Images of which each has its label as its bias."""
    random = np.random.default_rng(0)
    labels = labels_of(random).numpy()
    return data_of(random, labels, labels)


class RecordedRun:
    """A run of the loop.

    Attributes:
        method: as trained.
        steps: positions of the batch's images and the total loss, of the first replica.
    """

    def __init__(self, recipe, data, seeds=(0,), on_begin=lambda stage, method: None):
        self.method = get_method(recipe.method)(recipe, Task(SHAPE, 10, seeds))
        self.steps = []
        begin, losses = self.method.begin, self.method.losses

        def recorded_begin(stage, run):
            plan = begin(stage, run)
            on_begin(stage, self.method)
            return plan

        def recorded_losses(batch, step):
            result = losses(batch, step)
            self.steps.append((batch.index[0].tolist(), result.total[0].item()))
            return result

        self.method.begin, self.method.losses = recorded_begin, recorded_losses
        self.result = train(self.method, recipe, data)


def double_run(recipe, seeds=(0,), on_begin=lambda stage, method: None):
    """Train on `aligned_data` in double precision."""
    with double_precision():
        return RecordedRun(recipe, aligned_data(), seeds, on_begin)


class FewImages:
    """What a method asks of a run, of the four images above."""

    def labels(self, split):
        return LABELS

    def bias(self, split):
        return BIAS
