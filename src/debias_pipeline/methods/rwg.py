"""RWG: balanced sampling of groups, with known bias labels.

Idrissi, Arjovsky, Pezeshki & Lopez-Paz, "Simple data balancing achieves competitive worst-group
accuracy", CLeaR 2022, arXiv 2110.14503.
"""

from typing import ClassVar

import torch

from debias_pipeline.methods.base import MAIN, Optimiser, Plan, Run, Sampling, Stage
from debias_pipeline.methods.vanilla import Vanilla
from debias_pipeline.names import BiasLabels


class Rwg(Vanilla):
    """Vanilla on batches in which all groups (label, bias) with training images are equally likely.

    A pass draws as many images as there are, with replacement, each with a probability in inverse
    proportion to the size of its group.
    """

    name: ClassVar[str] = "rwg"
    bias_labels: ClassVar[BiasLabels] = "training"

    def begin(self, stage: Stage, run: Run) -> Plan:
        """See `Method`."""
        del stage
        bias = run.bias("train")
        groups = run.labels("train") * (int(bias.max()) + 1) + bias
        values = (1 / torch.bincount(groups)[groups]).expand(self.task.replicas, -1)
        return Plan(
            (Sampling(self.recipe.batch_size, "weights", values),),
            {MAIN: Optimiser.of_recipe(self.recipe, self)},
        )
