"""DisEnt with BiasEnsemble written down as slowly and literally as published, one seed, double.

Nothing of the package is used but the initial weights, the shuffles' random numbers and the
permutations, which the test hands over.
"""

import torch
from literal_disent import EPSILON, LiteralDisent
from literal_lff_be import LiteralLffBe
from torch import nn


class LiteralDisentBe(LiteralDisent):
    def __init__(self, labels, recipe):
        super().__init__(labels, recipe)
        self.voting = LiteralLffBe(labels, recipe)

    def steps(self, images, labels, shufflers, permuter):
        """Yield the images and the loss of each step: five short stages and the main one."""
        yield from self.voting.voting_steps(images, labels, shufflers)
        self.start_optimisers()
        drawn_batches = self.voting.batches(self.recipe.steps, shufflers[-1])
        for step, drawn in enumerate(drawn_batches):
            yield drawn, self.main_step(step, images[drawn], labels[drawn], drawn, permuter)

    def main_step(self, step, images, labels, drawn, permuter):
        recipe, ce = self.recipe, nn.CrossEntropyLoss(reduction="none")
        z_i, z_b = self.encoder_i(images), self.encoder_b(images)
        loss_i = ce(self.head_i(torch.cat([z_i, z_b.detach()], 1)), labels)
        loss_b = ce(self.head_b(torch.cat([z_i.detach(), z_b], 1)), labels)
        self.average_i.update(drawn, loss_i.detach().numpy())
        self.average_b.update(drawn, loss_b.detach().numpy())
        d, b = self.average_i.normalised(drawn), self.average_b.normalised(drawn)
        weights = torch.from_numpy(b / (b + d + EPSILON))
        of_aligned = self.voting.mean_of_aligned(loss_b, drawn)
        loss = (weights * loss_i).mean() + recipe.lambda_dis * of_aligned
        if step > recipe.swap_start:
            permutation = torch.randperm(len(drawn), generator=permuter)
            z_swap, y_swap = z_b[permutation], labels[permutation]
            swap_i = ce(self.head_i(torch.cat([z_i, z_swap.detach()], 1)), labels)
            swap_b = ce(self.head_b(torch.cat([z_i.detach(), z_swap], 1)), y_swap)
            members = [drawn[row] for row in permutation.tolist()]
            of_aligned = self.voting.mean_of_aligned(swap_b, members)
            swap = (weights * swap_i).mean() + recipe.lambda_swap_b * of_aligned
            loss = loss + recipe.lambda_swap * swap
        for adam in self.adams:
            adam.zero_grad()
        loss.backward()
        for adam in self.adams:
            adam.step()
        if step >= recipe.swap_start:
            for schedule in self.schedules:
                schedule.step()
        return loss.item()
