"""GroupDRO: distributionally robust optimisation over groups, with known bias labels.

Sagawa, Koh, Hashimoto & Liang, "Distributionally Robust Neural Networks for Group Shifts",
ICLR 2020, arXiv 1911.08731.
"""

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from debias_pipeline.losses import cross_entropy
from debias_pipeline.methods.base import Batch, Losses, Plan, Recipe, Run, Stage
from debias_pipeline.methods.rwg import Rwg


class GroupDroRecipe(Recipe):
    """Hyper-parameters of GroupDRO.

    Attributes:
        eta: η, step size of the group weights q.
        adjustment: C; C / √(images of the group) is added to the loss of each group.
    """

    eta: float = Field(default=0.01, ge=0, allow_inf_nan=False)
    adjustment: float = Field(default=0.0, ge=0, allow_inf_nan=False)


class GroupDro(Rwg):
    """RWG, trained on a weighted sum of the losses of groups, whose weights grow with the losses.

    Groups are pairs of a label and a bias value: C labels and A bias values give G = C · A groups.
    """

    name: ClassVar[str] = "groupdro"
    recipe_type: ClassVar[type[Recipe]] = GroupDroRecipe
    recipe: GroupDroRecipe
    _groups: Tensor
    _numbers: Tensor
    _adjustments: Tensor
    _q: Tensor

    def begin(self, stage: Stage, run: Run) -> Plan:
        """See `Method`."""
        labels, bias = run.labels("train"), run.bias("train")
        attributes = int(bias.max()) + 1
        groups = labels * attributes + bias
        sizes = torch.bincount(groups, minlength=self.task.classes * attributes)
        # A group without a training image has loss 0 at every step.
        adjustments = self.recipe.adjustment * sizes.clamp(min=1).rsqrt() * (sizes > 0)
        q = torch.full((self.task.replicas, len(sizes)), 1 / len(sizes))
        device = next(self.parameters()).device
        buffers = {"_groups": groups, "_numbers": torch.arange(len(sizes))}
        buffers |= {"_adjustments": adjustments, "_q": q}
        for name, tensor in buffers.items():
            self.register_buffer(name, tensor.to(device), persistent=False)
        return super().begin(stage, run)

    def losses(self, batch: Batch, step: int) -> Losses:
        """Return L = Σ_g q_g · l_g, after an update of the group weights q.

        l_g is the mean cross-entropy of the images of group g in the batch (0 if there are none),
        plus the adjustment of the group, see `GroupDroRecipe`.
        """
        del step
        losses = cross_entropy(self.predict(batch.images), batch.labels)
        with torch.no_grad():
            groups = self._groups[batch.index]
            # [R, G, B]. Sums of it are deterministic on every device; scatter_add_ is not.
            members = groups.unsqueeze(1) == self._numbers.unsqueeze(1)
            counts = members.sum(2).clamp(min=1)
            of_groups = (members * losses.unsqueeze(1)).sum(2) / counts + self._adjustments
            updated = self._q * torch.exp(self.recipe.eta * of_groups)
            self._q.copy_(updated / updated.sum(1, keepdim=True))
            factors = (self._q / counts).gather(1, groups)
            constant = (self._q * self._adjustments).sum(1)
        return Losses((factors * losses).sum(1) + constant)
