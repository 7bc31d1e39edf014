"""DeNetDM: a deep and a shallow network share the work, and the shallow one teaches.

Vadakkeeveetil Sreelatha, Kappiyath, Chaudhuri & Dutta, "DeNetDM: Debiasing by Network Depth
Modulation", NeurIPS 2024, arXiv 2403.19863. Differences from the published code:

- The first stage ends with its last step. The published code keeps the step with the best accuracy
  of the shallow branch on bias-conflicting images of the evaluation split.
- The target network starts from the same initial weights as the networks of other methods. The
  published code starts it from ImageNet for photographs.
- For encoders other than `mlp`, the shallow network is three convolutions of this project, and the
  target and the deep network are the recipe's.

As in the published code, the deep network is frozen but in train mode in the second stage, so
that the statistics of its batch normalisation change.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import ClassVar, Final

import torch
from pydantic import Field
from torch import Tensor, nn

from debias_pipeline.losses import cross_entropy
from debias_pipeline.methods.base import (
    MAIN,
    Batch,
    Losses,
    Method,
    Optimiser,
    Plan,
    Recipe,
    Run,
    Sampling,
    Stage,
    Task,
    two_stages,
)
from debias_pipeline.networks import ImageNetwork, StackedLinear, as_floats, build_encoder
from debias_pipeline.randomness import generators, global_generator_seeded_by

FIRST: Final = "branches"
# Layers of 100 units for the encoder `mlp`, and widths of the shallow network's convolutions.
DEEP, SHALLOW, UNITS = 4, 2, 100
WIDTHS: Final = (32, 64)


class DenetdmRecipe(Recipe):
    """Hyper-parameters of DeNetDM; the fields inherited from `Recipe` apply to the second stage.

    Attributes:
        first_steps: number of updates of the deep and the shallow network.
        first_lr, first_weight_decay: of the first stage, whose learning rate is constant.
        lambda_experts: weight of the loss of the deep and the target network together.
        lambda_distillation: weight of the distillation from the shallow network.
        temperature: T, of the distillation.
    """

    first_steps: int = Field(gt=0)
    first_lr: float = Field(gt=0, allow_inf_nan=False)
    first_weight_decay: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    lambda_experts: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    lambda_distillation: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    temperature: float = Field(default=2.0, gt=0, allow_inf_nan=False)


class Denetdm(Method):
    """Train a deep and a shallow network with one head c, then a target network from both.

    The sum of the features of both networks is classified. The deep one learns the bias, and is
    the bias branch. In the second stage, the target network replaces the shallow one in the sum
    and learns from its predictions alone. The target network makes the predictions.
    """

    name: ClassVar[str] = "denetdm"
    recipe_type: ClassVar[type[Recipe]] = DenetdmRecipe
    loss_terms: ClassVar[Mapping[str, str]] = {
        "loss_experts": "product of experts",
        "loss_distillation": "distillation",
    }
    recipe: DenetdmRecipe

    def __init__(self, recipe: Recipe, task: Task) -> None:
        """See `Method`."""
        super().__init__(recipe, task)
        initial = {
            name: generators(task.seeds, f"initial weights {name}")
            for name in ("deep", "shallow", "target", "head")
        }
        self.deep: nn.Module
        self.shallow: nn.Module
        self.target: nn.Module
        if recipe.network == "mlp":
            features = UNITS
            self.deep, self.target = (
                LinearLayers(task, DEEP, initial[name]) for name in ("deep", "target")
            )
            self.shallow = LinearLayers(task, SHALLOW, initial["shallow"])
        else:
            deep, target = (
                build_encoder(recipe.network, task.image_shape, 1, initial[name], recipe.weights)
                for name in ("deep", "target")
            )
            features, self.deep, self.target = deep.features, deep, target
            self.shallow = Convolutions(features, initial["shallow"])
        self.first_head = StackedLinear(features, task.classes, 1, initial["head"])
        self.head = StackedLinear(features, task.classes, 1, initial["head"])
        self._in_first_stage = True

    def stages(self) -> Sequence[Stage]:
        """See `Method`."""
        return two_stages(FIRST, self.recipe.first_steps, self.recipe.steps)

    def begin(self, stage: Stage, run: Run) -> Plan:
        """See `Method`."""
        del run
        recipe = self.recipe
        self._in_first_stage = stage.name == FIRST
        if self._in_first_stage:
            optimiser = replace(
                Optimiser.of_recipe(recipe, self.deep, self.shallow, self.first_head),
                learning_rate=lambda step: recipe.first_lr,
                weight_decay=recipe.first_weight_decay,
            )
        else:
            optimiser = Optimiser.of_recipe(recipe, self.target, self.head)
        return Plan((Sampling(recipe.batch_size),), {MAIN: optimiser})

    def end(self, stage: Stage, run: Run) -> None:
        """Copy the head c to that of the target network."""
        del run
        if stage.name == FIRST:
            self.head.load_state_dict(self.first_head.state_dict())

    def losses(self, batch: Batch, step: int) -> Losses:
        """Return the losses of a stage.

        The first is L = mean(CE(c(deep + shallow))), the second
        L = λ_e · mean(CE(c'(deep + target))) + λ_d · T² · mean(CE(c'(target) / T, p)), where p is
        softmax(c(shallow) / T) and c' the head of the target network.
        """
        del step
        images, labels = batch.images, batch.labels
        if self._in_first_stage:
            logits = _classify(self.first_head, self.deep(images) + self.shallow(images))
            return Losses(cross_entropy(logits, labels).mean(1))
        with torch.no_grad():
            deep = self.deep(images)
            teacher = _classify(self.first_head, self.shallow(images))
        target = self.target(images)
        experts = cross_entropy(_classify(self.head, deep + target), labels).mean(1)
        distillation = self._distillation(_classify(self.head, target), teacher)
        total = self.recipe.lambda_experts * experts
        total = total + self.recipe.lambda_distillation * distillation
        parts = zip(self.loss_terms, (experts, distillation), strict=True)
        return Losses(total, {name: each.detach() for name, each in parts})

    def predict(self, images: Tensor) -> Tensor:
        """See `Method`."""
        return _classify(self.head, self.target(images))

    def predict_branches(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the logits of the target network and of the deep one."""
        return self.predict(images), _classify(self.first_head, self.deep(images))

    def _distillation(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return T² · mean(CE(student / T, softmax(teacher / T))), [R], for logits, [R, B, C]."""
        temperature, dtype = self.recipe.temperature, self.head.weight.dtype
        wanted = torch.softmax(teacher.to(dtype) / temperature, -1)
        logarithms = torch.log_softmax(student.to(dtype) / temperature, -1)
        return -(temperature**2) * (wanted * logarithms).sum(-1).mean(1)


def _classify(head: nn.Module, features: Tensor) -> Tensor:
    """Return logits, [R, B, C], of features, [R, 1, B, F]."""
    logits: Tensor = head(features)
    return logits[:, 0]


class LinearLayers(ImageNetwork):
    """Flatten, then linear layers of 100 units with a ReLU after each.

    Unlike the encoder `mlp`, these networks get pixels in 0..1, as in the published code.
    """

    def __init__(self, task: Task, depth: int, initial: Sequence[torch.Generator]) -> None:
        """Create untrained networks, one per replica."""
        super().__init__()
        sizes = (math.prod(task.image_shape), *[UNITS] * depth)
        self.layers = nn.ModuleList(StackedLinear(*each, 1, initial) for each in pairwise(sizes))
        self._replicas = task.replicas

    def forward(self, images: Tensor) -> Tensor:
        """Return features, [R, 1, B, 100]; images as in `Method.predict`."""
        hidden = as_floats(images).flatten(2).expand(self._replicas, -1, -1).unsqueeze(1)
        for layer in self.layers:
            hidden = layer(hidden).relu()
        return hidden


class Convolutions(ImageNetwork):
    """Three 3 × 3 convolutions of stride 2 with a ReLU after each, then the mean over pixels."""

    def __init__(self, features: int, initial: Sequence[torch.Generator]) -> None:
        """Create untrained networks, one per replica.

        Args:
            features: F, channels of the last convolution.
            initial: generators of initial weights.
        """
        super().__init__()
        self._channels = (3, *WIDTHS, features)
        self.replicas = nn.ModuleList(self._new(each) for each in initial)

    def forward(self, images: Tensor) -> Tensor:
        """Return features, [R, 1, B, F]; images as in `Method.predict`."""
        of_replica = as_floats(images).expand(len(self.replicas), *images.shape[1:])
        pairs = zip(self.replicas, of_replica, strict=True)
        return torch.stack([network(mine).mean((2, 3)) for network, mine in pairs]).unsqueeze(1)

    def _new(self, generator: torch.Generator) -> nn.Module:
        with global_generator_seeded_by(generator):
            layers = [
                (nn.Conv2d(*each, 3, stride=2, padding=1), nn.ReLU())
                for each in pairwise(self._channels)
            ]
        return nn.Sequential(*(layer for pair in layers for layer in pair))
