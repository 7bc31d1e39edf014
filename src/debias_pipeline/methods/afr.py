"""AFR: automatic feature reweighting, which trains the last layer again.

Qiu, Potapczynski, Izmailov & Wilson, "Simple and Fast Group Robustness by Automatic Feature
Reweighting", ICML 2023, arXiv 2306.11074. As in the published code, the gradient of the head is
clipped to norm 1. The optional factor of the class frequency in the weights is left out.
"""

import math
from collections.abc import Sequence
from typing import ClassVar, Final

import torch
from pydantic import Field
from torch import Tensor

from debias_pipeline.losses import cross_entropy
from debias_pipeline.methods.base import (
    MAIN,
    Batch,
    Losses,
    Optimiser,
    Plan,
    Recipe,
    Run,
    Sampling,
    Stage,
    Task,
)
from debias_pipeline.methods.vanilla import Vanilla
from debias_pipeline.networks import StackedLinear
from debias_pipeline.randomness import generators

FIRST: Final = "erm"
# The part of the training images that the head is trained on again.
HEAD_SHARE: Final = 0.2


class AfrRecipe(Recipe):
    """Hyper-parameters of AFR; `steps` are updates of the head in the second stage.

    Attributes:
        first_steps: number of updates of the encoder and the first head.
        weight_gamma: γ, how fast weights fall with the probability of the label.
        lambda_head: λ, weight of the squared distance between the two heads.
        head_lr: learning rate of the second stage, gradient descent without momentum.
    """

    first_steps: int = Field(gt=0)
    weight_gamma: float = Field(ge=0, allow_inf_nan=False)
    lambda_head: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    head_lr: float = Field(gt=0, allow_inf_nan=False)


class Afr(Vanilla):
    """Train on 80 % of the images, then the head alone on the others, hard ones with more weight.

    The second stage uses the features of its images, without augmentation, all of them in every
    step. Each replica has its own random division of the training images.
    """

    name: ClassVar[str] = "afr"
    recipe_type: ClassVar[type[Recipe]] = AfrRecipe
    weight_name: ClassVar[str] = "weight µ"
    recipe: AfrRecipe
    _index: Tensor
    _labels: Tensor
    _stored: Tensor
    _weights: Tensor
    _zeros: Tensor

    def __init__(self, recipe: Recipe, task: Task) -> None:
        """See `Method`."""
        super().__init__(recipe, task)
        initial = generators(task.seeds, f"initial weights {FIRST}")
        self.first_head = StackedLinear(self.encoder.features, task.classes, 1, initial)
        self._in_first_stage = True

    def stages(self) -> Sequence[Stage]:
        """See `Method`."""
        return (
            Stage(FIRST, self.recipe.first_steps, evaluated=False),
            Stage(MAIN, self.recipe.steps),
        )

    def begin(self, stage: Stage, run: Run) -> Plan:
        """See `Method`."""
        self._in_first_stage = stage.name == FIRST
        if self._in_first_stage:
            index = self._create_buffers(run.labels("train"))
            counts = torch.ones(self._zeros.shape, dtype=torch.int64).scatter_(1, index, 0)
            sampling = Sampling(self.recipe.batch_size, "counts", counts)
            optimiser = Optimiser.of_recipe(self.recipe, self.encoder, self.first_head)
        else:
            # A plan needs a stream, but `losses` uses the features of all images of the stage.
            sampling = Sampling(1)
            optimiser = Optimiser((self.head,), lambda step: self.recipe.head_lr, "sgd")
        return Plan((sampling,), {MAIN: optimiser})

    @torch.no_grad()
    def end(self, stage: Stage, run: Run) -> None:
        """Store the features and the weights of the second stage's images; copy the head."""
        if stage.name == FIRST:
            features = run.sweep(lambda images: self.encoder(images)[:, 0])
            rows = self._index.unsqueeze(2).expand(-1, -1, features.shape[2])
            self._stored.copy_(features.gather(1, rows))
            logits = self.first_head(self._stored.unsqueeze(1))[:, 0]
            self._weights.copy_(self._weigh(logits, self._labels))
            self.head.load_state_dict(self.first_head.state_dict())

    def losses(self, batch: Batch, step: int) -> Losses:
        """Return the mean cross-entropy, in the second stage L = Σ µ · CE + λ · |W − W₀|².

        The batch is not used in the second stage. W are the weights and biases of the head.
        """
        del step
        if not self._in_first_stage:
            return Losses(self._clipped(self._head_loss()))
        logits = self.first_head(self.encoder(batch.images))[:, 0]
        return Losses(cross_entropy(logits, batch.labels).mean(1))

    def image_weights(self) -> Tensor | None:
        """Return µ, 0 for images of the first stage, [R, N]; the sum of a replica is 1."""
        return self._zeros.scatter(1, self._index, self._weights)

    def _create_buffers(self, labels: Tensor) -> Tensor:
        """Divide the training images; return positions of the second stage's, [R, n]."""
        size, device = math.ceil(HEAD_SHARE * len(labels)), self.head.weight.device
        orders = [
            torch.randperm(len(labels), generator=each)
            for each in generators(self.task.seeds, "images of the head")
        ]
        index = torch.stack(orders)[:, :size]
        zeros = self.head.weight.new_zeros(self.task.replicas, len(labels))
        features = zeros.new_zeros(*index.shape, self.encoder.features)
        self.register_buffer("_index", index.to(device), persistent=False)
        self.register_buffer("_labels", labels[index].to(device), persistent=False)
        self.register_buffer("_stored", features, persistent=False)
        self.register_buffer("_weights", zeros[:, :size].clone(), persistent=False)
        self.register_buffer("_zeros", zeros.detach(), persistent=False)
        return index

    def _weigh(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return µ ∝ exp(−γ · p), p the probability of the label; the sum of a replica is 1."""
        of_label = torch.exp(-cross_entropy(logits, labels))
        return torch.softmax(-self.recipe.weight_gamma * of_label, 1)

    def _head_loss(self) -> Tensor:
        logits = self.head(self._stored.unsqueeze(1))[:, 0]
        entropy = (self._weights * cross_entropy(logits, self._labels)).sum(1)
        pairs = zip(self.head.parameters(), self.first_head.parameters(), strict=True)
        distances = [(now - first).square().flatten(1).sum(1) for now, first in pairs]
        return entropy + self.recipe.lambda_head * torch.stack(distances).sum(0)

    def _clipped(self, losses: Tensor) -> Tensor:
        """Return losses of the same value, [R], whose gradient has a norm of at most 1."""
        parameters = list(self.head.parameters())
        gradients = torch.autograd.grad(losses.sum(), parameters, retain_graph=True)
        squares = torch.stack([each.square().flatten(1).sum(1) for each in gradients])
        factors = (1 / (squares.sum(0).sqrt() + 1e-6)).clamp(max=1)
        return losses.detach() + factors * (losses - losses.detach())
