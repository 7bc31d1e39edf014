"""LfF written down as slowly and literally as it is published, one seed, double precision.

Nothing of the package is used but the initial weights, which the test hands over.
"""

import torch
from literal_disent import EPSILON, LiteralAverage, LiteralEncoder
from torch import nn


def network():
    return nn.Sequential(LiteralEncoder(), nn.Linear(16, 10).double())


class LiteralLff:
    def __init__(self, labels, recipe):
        self.q = recipe.q
        self.debiased, self.biased = network(), network()
        self.average_d = LiteralAverage(labels, recipe.alpha)
        self.average_b = LiteralAverage(labels, recipe.alpha)
        self.adam_d = torch.optim.Adam(self.debiased.parameters(), lr=recipe.lr)
        self.adam_b = torch.optim.Adam(self.biased.parameters(), lr=recipe.lr)

    def step(self, images, labels, index):
        ce = nn.CrossEntropyLoss(reduction="none")
        with torch.no_grad():
            self.average_d.update(index, ce(self.debiased(images), labels).numpy())
            self.average_b.update(index, ce(self.biased(images), labels).numpy())
        d, b = self.average_d.normalised(index), self.average_b.normalised(index)
        weights = torch.from_numpy(b / (b + d + EPSILON))
        loss_b = self.gce(self.biased(images), labels).mean()
        loss_d = (weights * ce(self.debiased(images), labels)).mean()
        for loss, adam in ((loss_b, self.adam_b), (loss_d, self.adam_d)):
            adam.zero_grad()
            loss.backward()
            adam.step()
        return loss_d.item(), loss_b.item(), weights

    def gce(self, logits, labels):
        probability = torch.softmax(logits, 1)[torch.arange(len(labels)), labels]
        ce = nn.functional.cross_entropy(logits, labels, reduction="none")
        return ce * (self.q * probability.detach() ** self.q)
