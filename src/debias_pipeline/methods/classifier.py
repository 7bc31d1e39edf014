"""A network of its own, for methods that train several."""

from torch import Tensor, nn

from debias_pipeline.methods.batch import Task
from debias_pipeline.methods.recipe import Recipe
from debias_pipeline.networks import StackedLinear, build_encoder
from debias_pipeline.randomness import generators


class Classifier(nn.Module):
    """The recipe's encoder and a linear head, one of each per replica."""

    def __init__(self, recipe: Recipe, task: Task, purpose: str) -> None:
        """Create an untrained network.

        Args:
            recipe: names the encoder and its initial weights.
            task: sizes and seeds.
            purpose: added to the name of the random stream of initial weights.
        """
        super().__init__()
        initial = generators(task.seeds, f"initial weights {purpose}")
        self.encoder = build_encoder(recipe.network, task.image_shape, 1, initial, recipe.weights)
        self.head = StackedLinear(self.encoder.features, task.classes, 1, initial)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits, [R, B, C]; images as in `Method.predict`."""
        logits: Tensor = self.head(self.encoder(images))
        return logits[:, 0]
