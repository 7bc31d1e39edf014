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
        return self._classify(self._features(images))

    def _features(self, images: Tensor) -> Tensor:
        """Return the features of images, [R, B, F]."""
        features: Tensor = self.encoder(images)
        return features[:, 0]

    def _classify(self, features: Tensor) -> Tensor:
        """Return the logits of features, [R, B, C]."""
        logits: Tensor = self.head(features.unsqueeze(1))
        return logits[:, 0]
