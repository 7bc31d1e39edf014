"""DisEnt: disentangled feature augmentation.

Lee, Kim, Lee, Lee & Choo, "Learning Debiased Representation via Disentangled Feature
Augmentation", NeurIPS 2021, arXiv 2107.01372. Where paper and published code differ, this
follows the code, since the published figures came from it.
"""

from collections.abc import Mapping
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from debias_pipeline.losses import BIAS, INTRINSIC, cross_entropy
from debias_pipeline.methods.base import Batch, Losses, Recipe, Task
from debias_pipeline.methods.two_branches import TwoBranchMethod, TwoBranchRecipe
from debias_pipeline.networks import StackedLinear, build_encoder, check_same_tensors
from debias_pipeline.randomness import generators

# Of published checkpoint files: best_model_l.th, best_model_b.th.
PUBLISHED_SUFFIXES = {"l": INTRINSIC, "b": BIAS}


class DisentRecipe(TwoBranchRecipe):
    """Hyper-parameters of DisEnt.

    Attributes:
        lambda_dis: λ_dis, weight of the bias branch's loss.
        lambda_swap_b: λ_swap_b, weight of the bias branch's loss on swapped features.
        lambda_swap: λ_swap, weight of the loss on swapped features.
        swap_start: features are swapped after this step; the learning rate's decay
            counts from it.
        decay_every: steps between two decays of the learning rate.
        gamma: γ, factor of one decay.
        q, alpha: see `TwoBranchRecipe`.
    """

    lambda_dis: float = Field(ge=0, allow_inf_nan=False)
    lambda_swap_b: float = Field(ge=0, allow_inf_nan=False)
    lambda_swap: float = Field(ge=0, allow_inf_nan=False)
    swap_start: int = Field(ge=0)
    decay_every: int = Field(gt=0)
    gamma: float = Field(gt=0, le=1)

    def learning_rate(self, step: int) -> float:
        """Compute lr · γ^⌊(step − swap_start) / decay_every⌋ from `swap_start` on, lr before."""
        decays = max(0, step - self.swap_start) // self.decay_every
        return self.lr * self.gamma**decays


class Disent(TwoBranchMethod):
    """Two encoders E_i, E_b and two heads C_i, C_b on the concatenation [z_i ; z_b]."""

    name: ClassVar[str] = "disent"
    recipe_type: ClassVar[type[Recipe]] = DisentRecipe
    recipe: DisentRecipe

    def __init__(self, recipe: Recipe, task: Task) -> None:
        """See `Method`."""
        super().__init__(recipe, task)
        initial = generators(task.seeds, "initial weights")
        self.encoder = build_encoder(recipe.network, task.image_shape, 2, initial)
        self.heads = StackedLinear(2 * self.encoder.features, task.classes, 2, initial)
        self._permuters = generators(task.seeds, "feature swap")

    def losses(self, batch: Batch, step: int) -> Losses:
        """L = L_dis + λ_swap · L_swap, the latter once `step` is past `swap_start`."""
        features = self.encoder(batch.images)
        if step <= self.recipe.swap_start:
            return self._losses_without_swap(features, batch)
        return self._losses_with_swap(features, batch)

    def _losses_without_swap(self, features: Tensor, batch: Batch) -> Losses:
        losses = self._branch_losses(features, batch.labels, features[:, BIAS], batch.labels)
        weights = self._weights(batch.index, losses)
        intrinsic, bias = self._weighted_means(losses, weights)
        total = intrinsic + self.recipe.lambda_dis * bias
        return Losses(total, _detached(total, intrinsic, bias), weights)

    def _losses_with_swap(self, features: Tensor, batch: Batch) -> Losses:
        size = batch.labels.shape[1]
        swap = self._permutations(size, batch.labels.device)
        swapped_bias = features[:, BIAS].gather(1, swap.unsqueeze(2).expand_as(features[:, BIAS]))
        # One pass through the heads serves the images as they are and those with swapped bias.
        losses = self._branch_losses(
            torch.cat([features, features], 2),
            torch.cat([batch.labels, batch.labels], 1),
            torch.cat([features[:, BIAS], swapped_bias], 1),
            torch.cat([batch.labels, batch.labels.gather(1, swap)], 1),
        )
        plain, swapped = losses[:, :, :size], losses[:, :, size:]
        weights = self._weights(batch.index, plain)
        intrinsic, bias = self._weighted_means(plain, weights)
        swap_intrinsic, swap_bias = self._weighted_means(swapped, weights)
        recipe = self.recipe
        total = (
            intrinsic
            + recipe.lambda_dis * bias
            + recipe.lambda_swap * (swap_intrinsic + recipe.lambda_swap_b * swap_bias)
        )
        return Losses(total, _detached(total, intrinsic, bias, swap_intrinsic, swap_bias), weights)

    def _branch_losses(
        self, features: Tensor, labels: Tensor, bias_features: Tensor, bias_labels: Tensor
    ) -> Tensor:
        """Cross-entropies of C_i([z_i ; stop(z_b)]) and C_b([stop(z_i) ; z_b]).

        Args:
            features: [R, 2, B, F]; of these, z_i is used.
            labels: [R, B], what C_i has to say.
            bias_features: z_b, [R, B, F], possibly those of other images.
            bias_labels: [R, B], what C_b has to say.

        Returns:
            float32, [R, 2, B].
        """
        intrinsic = features[:, INTRINSIC]
        for_intrinsic = torch.cat([intrinsic, bias_features.detach()], 2)
        for_bias = torch.cat([intrinsic.detach(), bias_features], 2)
        logits = self.heads(torch.stack([for_intrinsic, for_bias], 1))
        return cross_entropy(logits, torch.stack([labels, bias_labels], 1))

    def _permutations(self, size: int, device: torch.device) -> Tensor:
        permutations = [torch.randperm(size, generator=each) for each in self._permuters]
        return torch.stack(permutations).to(device, non_blocking=True)

    def branch_logits(self, images: Tensor) -> Tensor:
        """See `TwoBranchMethod`: C_i and C_b on [z_i ; z_b]."""
        features = self.encoder(images)
        both = torch.cat([features[:, INTRINSIC], features[:, BIAS]], 2)
        logits: Tensor = self.heads(torch.stack([both, both], 1))
        return logits

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


def _detached(
    total: Tensor,
    intrinsic: Tensor,
    bias: Tensor,
    swap_intrinsic: Tensor | None = None,
    swap_bias: Tensor | None = None,
) -> dict[str, Tensor]:
    terms = {
        "loss": total,
        "loss_intrinsic": intrinsic,
        "loss_bias": bias,
        "loss_swap_intrinsic": swap_intrinsic,
        "loss_swap_bias": swap_bias,
    }
    return {name: term.detach() for name, term in terms.items() if term is not None}
