"""BiasEnsemble: the bias branch learns from bias-aligned images only.

Lee, Park, Kim, Lee, Choi & Choo, "Revisiting the Importance of Amplifying Bias for Debiasing",
AAAI 2023, arXiv 2205.14594.

The published code trains each network of the ensemble for 1,000 steps and keeps the better of two
copies, after updates 1 and 501, by validation accuracy. Here a network is trained for 501 steps,
which is the same unless the copy after one update is the better one.

`lff_be` and `disent_be` are LfF and DisEnt with it.
"""

from collections.abc import Sequence
from dataclasses import replace

from pydantic import Field
from torch import Tensor

from debias_pipeline.losses import cross_entropy, generalised_cross_entropy_factor
from debias_pipeline.methods.base import (
    MAIN,
    Batch,
    Losses,
    Optimiser,
    Plan,
    Recipe,
    Run,
    Sampling,
    Stage,
    Task,
)
from debias_pipeline.methods.classifier import Classifier
from debias_pipeline.methods.two_branches import TwoBranchMethod, TwoBranchRecipe


class BiasEnsembleRecipe(TwoBranchRecipe):
    """Hyper-parameters of a method with BiasEnsemble.

    Attributes:
        ensemble: number of networks that vote on which images are bias-aligned.
        ensemble_steps: number of updates of each.
        ensemble_confidence: a network votes for an image if it gives the label a probability
            above this.
        ensemble_votes: number of votes from which an image counts as bias-aligned.
        q, alpha: see `TwoBranchRecipe`.
    """

    ensemble: int = Field(default=5, gt=0)
    ensemble_steps: int = Field(default=501, gt=0)
    ensemble_confidence: float = Field(default=0.99, ge=0, lt=1)
    ensemble_votes: int = Field(default=3, ge=0)


class BiasEnsemble(TwoBranchMethod):
    """A two-branch method whose bias branch learns from the set D_A of bias-aligned images only.

    An ensemble of biased networks votes on which training images are bias-aligned. They are trained
    one after another, by the generalised cross-entropy, before the method's own networks.
    Subclasses also inherit from a two-branch method, which this class must precede.
    """

    recipe: BiasEnsembleRecipe
    _votes: Tensor

    def __init__(self, recipe: Recipe, task: Task) -> None:
        """See `Method`."""
        super().__init__(recipe, task)
        self._main_networks = tuple(self.children())
        # Reset for each network of the ensemble.
        self.voter = self._new_voter(self.stages()[0])
        self._voting = True

    def stages(self) -> Sequence[Stage]:
        """See `Method`."""
        recipe = self.recipe
        names = [f"biased {number + 1}" for number in range(recipe.ensemble)]
        voting = [Stage(name, recipe.ensemble_steps, evaluated=False) for name in names]
        return (*voting, Stage(MAIN, recipe.steps))

    def begin(self, stage: Stage, run: Run) -> Plan:
        """See `Method`."""
        labels = run.labels("train")
        optimiser = Optimiser.of_recipe(self.recipe, *self._main_networks)
        self._voting = stage.name != MAIN
        if self._voting:
            self.voter.load_state_dict(self._new_voter(stage).state_dict())
            # The published code decays the learning rate of the main stage only.
            optimiser = replace(
                optimiser, modules=(self.voter,), learning_rate=lambda step: self.recipe.lr
            )
        else:
            self.begin_training(labels)
        if stage == self.stages()[0]:
            votes = labels.new_zeros(self.task.replicas, len(labels))
            device = next(self.parameters()).device
            self.register_buffer("_votes", votes.to(device), persistent=False)
        return Plan((Sampling(self.recipe.batch_size),), {MAIN: optimiser})

    def end(self, stage: Stage, run: Run) -> None:
        """Add the votes of a network of the ensemble."""
        if stage.name == MAIN:
            return
        probabilities = run.sweep(
            # In bfloat16 a probability above 0.998 would be 1 or 0.996.
            lambda images: self._voter_logits(images).float().softmax(-1),
            augment=True,
        )
        labels = run.labels("train").to(probabilities.device).view(1, -1, 1)
        of_label = probabilities.gather(2, labels.expand(len(probabilities), -1, 1)).squeeze(2)
        self._votes += of_label > self.recipe.ensemble_confidence

    def losses(self, batch: Batch, step: int) -> Losses:
        """Return the two-branch method's loss, whose bias terms are means of CE over D_A.

        In the stages before the main one, return mean(GCE) of the current network of the ensemble.
        """
        if not self._voting:
            # The two-branch method that is the other base class implements it.
            return super().losses(batch, step)  # type: ignore[safe-super]
        losses = cross_entropy(self._voter_logits(batch.images), batch.labels)
        factors = generalised_cross_entropy_factor(losses.detach(), self.recipe.q)
        return Losses((losses * factors).mean(1))

    def bias_factors(self, losses: Tensor, index: Tensor) -> Tensor:
        """See `TwoBranchMethod`: the mean over the batch becomes a mean over its images in D_A.

        The loss of the bias branch is 0 if the batch has no such image; the published code fails
        then.
        """
        aligned = (self._votes.gather(1, index) >= self.recipe.ensemble_votes).unsqueeze(1)
        count = aligned.sum(2, keepdim=True).clamp(min=1)
        return (aligned * (index.shape[1] / count)).expand_as(losses)

    def _voter_logits(self, images: Tensor) -> Tensor:
        logits: Tensor = self.voter(images)
        return logits

    def _new_voter(self, stage: Stage) -> Classifier:
        return Classifier(self.recipe, self.task, stage.name)
