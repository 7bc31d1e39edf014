"""DFR: deep feature reweighting, which trains the last layer again on balanced groups.

Kirichenko, Izmailov & Wilson, "Last Layer Re-Training is Sufficient for Robustness to Spurious
Correlations", ICLR 2023, arXiv 2204.02937. Differences from the paper and the published code:

- The head is trained on 20 % of the training images, which the encoder is not trained on. The paper
  uses the validation split, or (DFR-Tr) training images that the encoder is trained on. Here the
  validation split is for selection rules, and it is as biased as the training split.
- The regression is multinomial, and proximal gradient descent from zero approaches its minimum. The
  published code uses scikit-learn's liblinear: one class against the rest, with a penalty of the
  biases too.
- C is a hyper-parameter. The paper chooses it, and weights of classes, by the accuracy of the worst
  group on a part of the held-out images.
"""

from typing import ClassVar, Final

import torch
from pydantic import Field
from torch import Tensor, nn

from debias_pipeline.losses import cross_entropy
from debias_pipeline.methods.base import Recipe, Run, Task
from debias_pipeline.methods.last_layer import LastLayerMethod, LastLayerRecipe
from debias_pipeline.names import BiasLabels
from debias_pipeline.networks import StackedLinear
from debias_pipeline.randomness import generators

# S, the number of samples and of heads, as published for training images.
SAMPLES: Final = 10
# A feature with a smaller standard deviation is constant and is not scaled.
SMALLEST_SCALE: Final = 1e-6


class DfrRecipe(LastLayerRecipe):
    """Hyper-parameters of DFR.

    Attributes:
        inverse_penalty: C, the inverse strength of the L1 penalty, as in scikit-learn.
    """

    inverse_penalty: float = Field(gt=0, allow_inf_nan=False)


class Dfr(LastLayerMethod):
    """Train on 80 % of the images, then heads alone on samples of the others with equal groups.

    A sample has as many images of each group (label, bias) as the smallest group has, out of the
    groups that have images there. Ten heads are trained, each on a random sample of its own;
    predictions are those of their mean. Features are standardised.
    """

    name: ClassVar[str] = "dfr"
    recipe_type: ClassVar[type[Recipe]] = DfrRecipe
    bias_labels: ClassVar[BiasLabels] = "heldout"
    recipe: DfrRecipe
    feature_mean: Tensor
    feature_scale: Tensor
    _sizes: Tensor

    def __init__(self, recipe: Recipe, task: Task) -> None:
        """See `Method`."""
        super().__init__(recipe, task)
        width = self.encoder.features
        initial = generators(task.seeds, "initial weights heads")
        self.head = StackedLinear(width, task.classes, SAMPLES, initial)
        self.register_buffer("feature_mean", torch.zeros(task.replicas, 1, width))
        self.register_buffer("feature_scale", torch.ones(task.replicas, 1, width))

    def head_images(self, heldout: Tensor, run: Run) -> Tensor:
        """Draw the samples of each replica; they are padded to the longest of all replicas."""
        bias = run.bias("train")
        groups = run.labels("train") * (int(bias.max()) + 1) + bias
        samples = [
            draw_balanced(rows, groups[rows], generator)
            for rows, generator in zip(
                heldout, generators(self.task.seeds, "balanced groups"), strict=True
            )
        ]
        sizes = torch.tensor([each.shape[1] for each in samples], device=self.head.weight.device)
        self.register_buffer("_sizes", sizes.view(-1, 1), persistent=False)
        longest = int(sizes.max())
        padded = [nn.functional.pad(each, (0, longest - each.shape[1])) for each in samples]
        return torch.stack(padded).flatten(1)

    def prepare_head(self, features: Tensor) -> None:
        """Start from zero, with features of mean 0 and variance 1 over all training images."""
        scale = features.std(1, correction=0, keepdim=True)
        self.feature_mean.copy_(features.mean(1, keepdim=True))
        self.feature_scale.copy_(torch.where(scale > SMALLEST_SCALE, scale, 1))
        for parameter in self.head.parameters():
            parameter.zero_()

    def head_losses(self) -> Tensor:
        """Return the mean over samples of mean(CE) + |W|₁ / (C · images of the sample).

        The gradient of W is such that the update is a step of proximal gradient descent (ISTA):
        W ← sign(V) · max(|V| − lr / (C · images), 0), with V = W − lr · gradient of mean(CE).
        """
        shape = (self.task.replicas, SAMPLES, -1)
        stored = self._stored.view(*shape, self._stored.shape[2])
        labels = self._labels.view(shape)
        losses = cross_entropy(self._head_logits(stored), labels)
        positions = torch.arange(labels.shape[2], device=labels.device)
        means = (losses * (positions < self._sizes.unsqueeze(2))).sum(2) / self._sizes
        weight, rate = self.head.weight, self.recipe.head_lr
        strengths = 1 / (self.recipe.inverse_penalty * self._sizes)
        (gradient,) = torch.autograd.grad(means.sum(), weight, retain_graph=True)
        with torch.no_grad():
            moved = weight - rate * gradient
            shrunk = (moved.abs() - rate * strengths[:, :, None, None]).clamp(min=0) * moved.sign()
            correction = (weight - shrunk) / rate - gradient
            values = means + strengths * weight.abs().sum((2, 3))
        # Each head follows its own loss, whatever the number of heads.
        objective = means.sum(1) + (correction * weight).sum((1, 2, 3))
        return values.mean(1) + (objective - objective.detach())

    def _classify(self, features: Tensor) -> Tensor:
        """Return the logits of the mean of all heads, [R, B, C]."""
        return self._head_logits(features.unsqueeze(1).expand(-1, SAMPLES, -1, -1)).mean(1)

    def _head_logits(self, features: Tensor) -> Tensor:
        """Return the logits of each head for its own features, [R, S, B, C]."""
        mean, scale = self.feature_mean.unsqueeze(1), self.feature_scale.unsqueeze(1)
        logits: Tensor = self.head((features - mean) / scale)
        return logits


def draw_balanced(rows: Tensor, groups: Tensor, generator: torch.Generator) -> Tensor:
    """Return random samples of rows in which all groups have the size of the smallest.

    Args:
        rows: int64, [n].
        groups: of the rows, int64, [n].
        generator: draws the samples.

    Returns:
        [S, m], a sample per row; within one, no row is repeated.
    """
    sizes = torch.bincount(groups)
    starts = sizes.cumsum(0) - sizes
    smallest = sizes[sizes > 0].min()
    samples = []
    for _ in range(SAMPLES):
        order = torch.randperm(len(rows), generator=generator)
        order = order[groups[order].argsort(stable=True)]
        ranks = torch.arange(len(rows)) - starts[groups[order]]
        samples.append(rows[order[ranks < smallest]])
    return torch.stack(samples)
