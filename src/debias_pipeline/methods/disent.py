"""DisEnt: disentangled feature augmentation.

Lee, Kim, Lee, Lee & Choo, "Learning Debiased Representation via Disentangled Feature
Augmentation", NeurIPS 2021, arXiv 2107.01372. Where paper and published code differ, this
follows the code, since it produced the published accuracies.
"""

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from debias_pipeline.losses import cross_entropy
from debias_pipeline.methods.base import Batch, Losses, Recipe, Task
from debias_pipeline.methods.two_branches import (
    BIAS,
    INTRINSIC,
    TwoBranchMethod,
    TwoBranchRecipe,
)
from debias_pipeline.networks import StackedLinear, build_encoder, check_same_tensors
from debias_pipeline.randomness import generators

# Suffixes of published checkpoint files, best_model_l.th and best_model_b.th.
PUBLISHED_SUFFIXES = {"l": INTRINSIC, "b": BIAS}


class DisentRecipe(TwoBranchRecipe):
    """Hyper-parameters of DisEnt.

    Attributes:
        lambda_dis: λ_dis, weight of the bias branch's loss.
        lambda_swap_b: λ_swap_b, weight of the bias branch's loss on swapped features.
        lambda_swap: λ_swap, weight of the loss on swapped features.
        swap_start: step after which features are swapped, and from which decays of the learning
            rate are counted.
        schedule, decay_every, gamma: see `Recipe`; gamma=1 keeps the learning rate constant.
        q, alpha: see `TwoBranchRecipe`.
    """

    lambda_dis: float = Field(ge=0, allow_inf_nan=False)
    lambda_swap_b: float = Field(ge=0, allow_inf_nan=False)
    lambda_swap: float = Field(ge=0, allow_inf_nan=False)
    swap_start: int = Field(ge=0)
    schedule: Literal["step"] = "step"
    decay_every: int = Field(gt=0)
    gamma: float = Field(gt=0, le=1)

    @property
    def decay_start(self) -> int:
        """See `Recipe`."""
        return self.swap_start


class Disent(TwoBranchMethod):
    """Two encoders E_i, E_b and two heads C_i, C_b on the concatenation [z_i ; z_b]."""

    name: ClassVar[str] = "disent"
    recipe_type: ClassVar[type[Recipe]] = DisentRecipe
    loss_terms: ClassVar[Mapping[str, str]] = {
        "loss_intrinsic": "intrinsic",
        "loss_bias": "bias",
        "loss_swap_intrinsic": "swap, intrinsic",
        "loss_swap_bias": "swap, bias",
    }
    recipe: DisentRecipe
    _shares_of_loss: Tensor

    def __init__(self, recipe: Recipe, task: Task) -> None:
        """See `Method`."""
        super().__init__(recipe, task)
        initial = generators(task.seeds, "initial weights")
        self.encoder = build_encoder(recipe.network, task.image_shape, 2, initial, recipe.weights)
        self.heads = StackedLinear(2 * self.encoder.features, task.classes, 2, initial)
        self._permuters = self.random_stream("feature swap")
        self.register_buffer("_shares_of_loss", _shares_of_loss(self.recipe), persistent=False)

    def losses(self, batch: Batch, step: int) -> Losses:
        """Return L = L_dis + λ_swap · L_swap; L_swap is added after step `swap_start`."""
        features = self.encoder(batch.images)
        swapping = step > self.recipe.swap_start
        logits = self._logits_with_swap(features) if swapping else self._logits(features)
        labels = batch.labels[:, None, None].expand(logits.shape[:-1])
        losses = cross_entropy(logits, labels)
        shares = self._shares_of_loss if swapping else self._shares_of_loss[:, :1]
        total, means, weights = self.weighted_loss(losses, batch.index, shares)
        terms = zip(self.loss_terms, means.mT.flatten(1).unbind(1), strict=False)
        return Losses(total, dict(terms), weights)

    def _logits(self, features: Tensor) -> Tensor:
        """Return the logits C_i([z_i ; stop(z_b)]) and C_b([stop(z_i) ; z_b]).

        Args:
            features: [R, 2, B, F].

        Returns:
            [R, 2, 1, B, C].
        """
        own, other = self._shares(features)
        return (own + other).unsqueeze(2)

    def _logits_with_swap(self, features: Tensor) -> Tensor:
        """Return the logits of `_logits`, and those with the other branch's features permuted.

        Returns:
            [R, 2, 2, B, C]: plain, swapped. Row n of C_b's swapped logits has the features z_b of
            image n, so that its label is that of image n. Equation 6 orders the rows by the image
            of z_i; the sum over the batch is the same.
        """
        own, other = self._shares(features)
        permutations = self._permutations(features.shape[2], features.device)
        rows = torch.stack([permutations, _inverse(permutations)], 1).unsqueeze(3)
        swapped = other.gather(2, rows.expand_as(other))
        return own.unsqueeze(2) + torch.stack([other, swapped], 2)

    def _shares(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return each head's logits of its own branch's and of the other branch's features.

        A head is linear, so that its logits of a concatenation are the sum of the two. Swapped
        features are the same summands in other pairs.

        Returns:
            [R, 2, B, C] each.
        """
        replicas, _, inputs, classes = self.heads.weight.shape
        weight = self.heads.weight.view(replicas, 4, inputs // 2, classes)
        # The order in `weight` is C_i of z_i, C_i of z_b, C_b of z_i, C_b of z_b.
        own_weight, other_weight = weight[:, ::3].flatten(0, 1), weight[:, 1:3].flatten(0, 1)
        bias = self.heads.bias.flatten(0, 1).unsqueeze(1)
        own = torch.baddbmm(bias, features.flatten(0, 1), own_weight)
        other = torch.bmm(features.detach().flip(1).flatten(0, 1), other_weight)
        shape = (*features.shape[:3], -1)
        return own.view(shape), other.view(shape)

    def _permutations(self, size: int, device: torch.device) -> Tensor:
        permutations = [torch.randperm(size, generator=each) for each in self._permuters]
        return torch.stack(permutations).to(device, non_blocking=True)

    def branch_logits(self, images: Tensor) -> Tensor:
        """See `TwoBranchMethod`: C_i and C_b on [z_i ; z_b]."""
        return self._logits(self.encoder(images))[:, :, 0]

    def published_networks(self, replica: int) -> dict[str, dict[str, Tensor]]:
        """See `Method`: suffix `l` is the intrinsic branch, `b` the bias branch."""
        return {
            suffix: {
                **self.encoder.branch_state(replica, branch),
                "fc.weight": self.heads.weight[replica, branch].detach().T.contiguous(),
                "fc.bias": self.heads.bias[replica, branch].detach().clone(),
            }
            for suffix, branch in PUBLISHED_SUFFIXES.items()
        }

    @torch.no_grad()
    def load_published_networks(
        self, replica: int, networks: Mapping[str, Mapping[str, Tensor]]
    ) -> None:
        """See `Method`."""
        mine = self.published_networks(replica)
        for suffix, branch in PUBLISHED_SUFFIXES.items():
            state = dict(networks[suffix])
            check_same_tensors(state, mine[suffix])
            self.heads.weight[replica, branch] = state.pop("fc.weight").T
            self.heads.bias[replica, branch] = state.pop("fc.bias")
            self.encoder.load_branch_state(replica, branch, state)


def _shares_of_loss(recipe: DisentRecipe) -> Tensor:
    """Return the factors of the loss terms, [intrinsic or bias branch, plain or swapped]."""
    swapped = recipe.lambda_swap
    return torch.tensor([[1, swapped], [recipe.lambda_dis, swapped * recipe.lambda_swap_b]])


def _inverse(permutations: Tensor) -> Tensor:
    """Return the inverse of each row, [R, B]."""
    places = torch.arange(permutations.shape[1], device=permutations.device)
    return torch.empty_like(permutations).scatter_(1, permutations, places.expand_as(permutations))
