"""LfF with BiasEnsemble written down as slowly and literally as it is published, one seed, double.

Nothing of the package is used but the initial weights and the shuffles' random numbers, which the
test hands over.
"""

import torch
from literal_disent import EPSILON
from literal_lff import LiteralLff, network
from torch import nn


class LiteralLffBe(LiteralLff):
    def __init__(self, labels, recipe):
        super().__init__(labels, recipe)
        self.recipe, self.labels = recipe, labels
        self.ensemble = [network() for _ in range(recipe.ensemble)]

    def steps(self, images, labels, shufflers):
        """Yield the images and the loss of each step: five short stages and the main one."""
        yield from self.voting_steps(images, labels, shufflers)
        for drawn in self.batches(self.recipe.steps, shufflers[-1]):
            yield drawn, self.main_step(images[drawn], labels[drawn], drawn)

    def voting_steps(self, images, labels, shufflers):
        marks = [0] * len(labels)
        for biased, shuffler in zip(self.ensemble, shufflers, strict=False):
            adam = torch.optim.Adam(biased.parameters(), lr=self.recipe.lr)
            for drawn in self.batches(self.recipe.ensemble_steps, shuffler):
                loss = self.gce(biased(images[drawn]), labels[drawn]).mean()
                adam.zero_grad()
                loss.backward()
                adam.step()
                yield drawn, loss.item()
            for image, label in enumerate(labels):
                probability = torch.softmax(biased(images[[image]])[0], 0)[label].item()
                if probability > self.recipe.ensemble_confidence:
                    marks[image] += 1
        self.marks = marks
        self.aligned = {image for image, mark in enumerate(marks) if mark >= 3}

    def batches(self, steps, shuffler):
        size, order = self.recipe.batch_size, []
        for _ in range(steps):
            if len(order) < size:
                order = torch.randperm(len(self.labels), generator=shuffler).tolist()
            drawn, order = order[:size], order[size:]
            yield drawn

    def main_step(self, images, labels, drawn):
        ce = nn.CrossEntropyLoss(reduction="none")
        loss_d, loss_b = ce(self.debiased(images), labels), ce(self.biased(images), labels)
        self.average_d.update(drawn, loss_d.detach().numpy())
        self.average_b.update(drawn, loss_b.detach().numpy())
        d, b = self.average_d.normalised(drawn), self.average_b.normalised(drawn)
        weights = torch.from_numpy(b / (b + d + EPSILON))
        loss = self.mean_of_aligned(loss_b, drawn) + (weights * loss_d).mean()
        for adam in (self.adam_d, self.adam_b):
            adam.zero_grad()
        loss.backward()
        for adam in (self.adam_d, self.adam_b):
            adam.step()
        return loss.item()

    def mean_of_aligned(self, losses, drawn):
        rows = [row for row, image in enumerate(drawn) if image in self.aligned]
        # Published code fails where there is none; here the loss and its gradient are 0.
        return losses[rows].mean() if rows else 0 * losses.sum()
