"""The baseline: one network, plain cross-entropy."""

from typing import ClassVar

from torch import Tensor

from debias_pipeline.losses import cross_entropy
from debias_pipeline.methods.base import Batch, Losses, Method, Recipe, Task
from debias_pipeline.networks import StackedLinear, build_encoder
from debias_pipeline.randomness import generators


class Vanilla(Method):
    """An encoder and a linear head, trained on the mean cross-entropy."""

    name: ClassVar[str] = "vanilla"
    recipe_type: ClassVar[type[Recipe]] = Recipe

    def __init__(self, recipe: Recipe, task: Task) -> None:
        """See `Method`."""
        super().__init__(recipe, task)
        initial = generators(task.seeds, "initial weights")
        self.encoder = build_encoder(recipe.network, task.image_shape, 1, initial, recipe.weights)
        self.head = StackedLinear(self.encoder.features, task.classes, 1, initial)

    def losses(self, batch: Batch, step: int) -> Losses:
        """Return the mean cross-entropy."""
        del step
        total = cross_entropy(self.predict(batch.images), batch.labels).mean(1)
        return Losses(total)

    def predict(self, images: Tensor) -> Tensor:
        """See `Method`."""
        logits: Tensor = self.head(self.encoder(images))
        return logits[:, 0]
