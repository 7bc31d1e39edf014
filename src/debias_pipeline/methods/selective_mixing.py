"""SelecMix: mix images with partners that contradict the bias.

Hwang, Lee, Kwak, Oh, Teney, Kim & Zhang, "SelecMix: Debiased Learning by Contradicting-pair
Sampling", NeurIPS 2022, arXiv 2211.02291.

As in the published code, partners are searched in a batch that is then split into mini-batches,
each of which is an update. A step is such a batch, so that it makes several updates. Differences
from the published code:

- The network h that compares images has the method's own encoder by default. The published code
  has a ResNet18 with a stem of 3 × 3 for every data set, which takes days on a CPU even for images
  of 28 × 28 pixels.
- A partner of another label is the most similar of these images. The published code multiplies
  similarities by 0 for images of the same label, so that it takes one of these, possibly the image
  itself, where all other similarities are negative.
- An image without another one of its label in the batch is its own partner of the same label.
"""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final, Literal

import torch
from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor, nn

from debias_pipeline.losses import inner_products
from debias_pipeline.methods.base import (
    MAIN,
    Batch,
    Losses,
    Method,
    Optimiser,
    Plan,
    Recipe,
    Run,
    Stage,
    Task,
    Update,
)
from debias_pipeline.methods.mixing import mix
from debias_pipeline.networks import StackedLinear, as_floats, build_encoder
from debias_pipeline.randomness import generators

SIMILARITY: Final = "similarity"
# Of h's loss: temperature, and exponent as of the generalised cross-entropy.
TEMPERATURE: Final = 0.2
EXPONENT: Final = 0.7
# Width of h's output, and the smallest one of the layer before it.
WIDTH: Final = 128
# Momentum of h's SGD.
MOMENTUM: Final = 0.9


class SelectiveMixingRecipe(Recipe):
    """Hyper-parameters of a method that mixes images with selected partners.

    Attributes:
        mini_batches: number of parts, nearly equal in size, into which a batch is split; each is
            an update of each network. `batch_size` is that of the whole batch.
        similarity_network: encoder of h; same: that of `network`, without pretrained weights.
        similarity_optimiser: of h; sgd has a momentum of 0.9.
        similarity_lr: constant learning rate of h.
        similarity_weight_decay: factor of the L2 penalty of h.
    """

    mini_batches: int = Field(default=4, gt=0)
    similarity_network: Literal["same", "mlp", "resnet18", "resnet20"] = "same"
    similarity_optimiser: Literal["adam", "sgd"] = "adam"
    similarity_lr: float = Field(default=0.001, gt=0, allow_inf_nan=False)
    similarity_weight_decay: float = Field(default=0.0, ge=0, allow_inf_nan=False)

    @field_validator("mini_batches")
    @classmethod
    def _has_images_for_each(cls, value: int, info: ValidationInfo) -> int:
        images = info.data.get("batch_size", value)
        if value > images:
            raise ValueError(f"a batch of {images} images cannot be divided into {value} parts")
        return value


class SelectiveMixing(Method):
    """Mix each image with one of the same label that differs, or of another that is similar.

    A network h learns to compare images, from easy pairs of the same label, so that images are
    similar that share the bias. A coin decides for each batch whether partners have the same label
    (the least similar image) or another one (the most similar image). A mix has the partner's
    label, and the partner has at least half of the mix.

    Subclasses also inherit from another method, which this class must precede, and implement
    `mixed_losses`.
    """

    recipe: SelectiveMixingRecipe

    def __init__(self, recipe: Recipe, task: Task) -> None:
        """See `Method`."""
        super().__init__(recipe, task)
        self._main_networks = tuple(self.children())
        self.similarity = SimilarityNetwork(self.recipe, task)
        self._mixers = self.random_stream("selective mixing")

    def begin(self, stage: Stage, run: Run) -> Plan:
        """See `Method`: h has an optimiser of its own."""
        recipe = self.recipe
        of_similarity = Optimiser(
            (self.similarity,),
            lambda step: recipe.similarity_lr,
            recipe.similarity_optimiser,
            recipe.similarity_weight_decay,
            MOMENTUM,
        )
        main = Optimiser.of_recipe(recipe, *self._main_networks)
        return replace(
            super().begin(stage, run), optimisers={MAIN: main, SIMILARITY: of_similarity}
        )

    def updates(self, batches: Sequence[Batch], step: int) -> Iterator[Update]:
        """See `Method`: for each mini-batch, an update of the method's networks and one of h."""
        batch = batches[0]
        parts = [
            each.tensor_split(self.recipe.mini_batches, 1)
            for each in (batch.images, batch.labels, batch.index, *self._mix(batch))
        ]
        weights: list[Tensor] = []
        for images, labels, index, mixed, targets in zip(*parts, strict=True):
            part = Batch(images, labels, index)
            losses = self.mixed_losses(part, mixed, targets)
            if losses.weights is not None:
                weights.append(losses.weights)
            # The loop expects the weights of a whole batch.
            of_batch = torch.cat(weights, 1) if len(weights) == len(parts[0]) else None
            yield Update(replace(losses, weights=of_batch), (MAIN,))
            yield Update(self.similarity_losses(part), (SIMILARITY,))

    def losses(self, batch: Batch, step: int) -> Losses:
        """Return the losses of the method's networks if the batch is not split."""
        del step
        return self.mixed_losses(batch, *self._mix(batch))

    @abstractmethod
    def mixed_losses(self, batch: Batch, mixed: Tensor, targets: Tensor) -> Losses:
        """Return the losses of the method's networks.

        Args:
            batch: a mini-batch.
            mixed: its images, mixed with partners: float, [R, B, 3, H, W].
            targets: labels of the partners, int64, [R, B].
        """

    def similarity_losses(self, batch: Batch) -> Losses:
        """Return the loss of h: −mean over i of mean over P(i) of w_ij · l_ij.

        l_ij = log softmax over j ≠ i of h_i · h_j / 0.2; P(i) are the other images with the label
        of i; w_ij = 0.7 · exp(0.7 · l_ij) has no gradient: pairs that are similar count more.
        """
        similarities = inner_products(self.similarity(batch.images)) / TEMPERATURE
        own = torch.eye(similarities.shape[1], dtype=torch.bool, device=similarities.device)
        # Not −inf, so that a batch of one image has a finite loss.
        others = similarities.masked_fill(own, torch.finfo(similarities.dtype).min)
        logs = others.log_softmax(2)
        positives = _same(batch.labels) & ~own
        weights = EXPONENT * torch.exp(EXPONENT * logs.detach()) * positives
        means = (weights * logs).sum(2) / positives.sum(2).clamp(min=1)
        total = -means.mean(1)
        return Losses(total, {"loss_similarity": total.detach()})

    @torch.no_grad()
    def _mix(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the mixed images of a batch, float, and the labels of the partners."""
        size, device = batch.labels.shape[1], batch.labels.device
        uniform = torch.stack([torch.rand(size + 1, generator=each) for each in self._mixers])
        uniform = uniform.to(device, non_blocking=True)
        partners = self._partners(batch, uniform[:, :1] < 0.5)
        images = as_floats(batch.images)
        mixed = mix(images, partners, 0.5 * uniform[:, 1:].to(images.dtype))
        return mixed, batch.labels.gather(1, partners)

    def _partners(self, batch: Batch, same_label: Tensor) -> Tensor:
        """Return the partner of each image: positions in the batch, int64, [R, B].

        Args:
            batch: the images.
            same_label: whether partners have the same label, bool, [R, 1].
        """
        features = self.similarity(batch.images)
        # −½ · squared distance, which equals h_i · h_j − 1: vectors have the length 1. It does not
        # round where all are close to each other, as at the start of training.
        products = inner_products(features - features.mean(1, keepdim=True))
        norms = products.diagonal(dim1=1, dim2=2) / 2
        similarities = products - norms.unsqueeze(1) - norms.unsqueeze(2)
        same = _same(batch.labels)
        least = similarities.masked_fill(~same, torch.inf).argmin(2)
        most = similarities.masked_fill(same, -torch.inf).argmax(2)
        return torch.where(same_label, least, most)


class SimilarityNetwork(nn.Module):
    """The network h: an encoder and two linear layers with a ReLU between them."""

    def __init__(self, recipe: SelectiveMixingRecipe, task: Task) -> None:
        """Create an untrained network."""
        super().__init__()
        initial = generators(task.seeds, f"initial weights {SIMILARITY}")
        chosen = recipe.similarity_network
        name = recipe.network if chosen == "same" else chosen
        self.encoder = build_encoder(name, task.image_shape, 1, initial)
        features = self.encoder.features
        self.first = StackedLinear(features, max(features, WIDTH), 1, initial)
        self.second = StackedLinear(max(features, WIDTH), WIDTH, 1, initial)

    def forward(self, images: Tensor) -> Tensor:
        """Return vectors of length 1, [R, B, 128], not in bfloat16; images as in `predict`."""
        outputs: Tensor = self.second(self.first(self.encoder(images)).relu())
        return nn.functional.normalize(outputs[:, 0].to(self.second.weight.dtype), dim=-1)


def _same(labels: Tensor) -> Tensor:
    """Return which pairs of images of a batch have the same label, bool, [R, B, B]."""
    return labels.unsqueeze(2) == labels.unsqueeze(1)
