"""GroupDRO written down as slowly and literally as it is published, one seed, double precision.

Nothing of the package is used but the initial weights, which the test hands over.
"""

import math

import torch
from literal_lff import network
from torch import nn


class LiteralGroupDro:
    def __init__(self, labels, bias, recipe):
        self.eta, self.adjustment = recipe.eta, recipe.adjustment
        values = max(bias) + 1
        self.groups = [label * values + each for label, each in zip(labels, bias, strict=True)]
        self.sizes = [self.groups.count(group) for group in range(10 * values)]
        self.q = [1 / len(self.sizes) for _ in self.sizes]
        self.network = network()

    def start_optimiser(self, lr):
        self.adam = torch.optim.Adam(self.network.parameters(), lr=lr)

    def draw(self, generator):
        """A pass: as many images as there are, drawn with replacement."""
        images = len(self.groups)
        weights = torch.tensor([images / self.sizes[group] for group in self.groups])
        return torch.multinomial(weights, images, replacement=True, generator=generator).tolist()

    def step(self, images, labels, index):
        losses = nn.functional.cross_entropy(self.network(images), labels, reduction="none")
        group_losses = []
        for group, size in enumerate(self.sizes):
            rows = [row for row, image in enumerate(index) if self.groups[image] == group]
            loss = losses[rows].mean() if rows else torch.zeros(())
            if self.adjustment > 0:
                loss = loss + self.adjustment / math.sqrt(size)
            group_losses.append(loss)
        for group, loss in enumerate(group_losses):
            self.q[group] *= math.exp(self.eta * loss.item())
        total = sum(self.q)
        self.q = [q / total for q in self.q]
        loss = sum(q * each for q, each in zip(self.q, group_losses, strict=True))
        self.adam.zero_grad()
        loss.backward()
        self.adam.step()
        return loss.item()
