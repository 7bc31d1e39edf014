"""LC written down as slowly and literally as it is published, one seed, double precision.

Nothing of the package is used but the initial weights and the random numbers, which the test hands
over.
"""

import math

import torch
from literal_lff import network
from torch import nn


class LiteralLc:
    def __init__(self, recipe):
        self.recipe = recipe
        self.debiased, self.biased = network(), network()
        self.matrix, self.visited = torch.zeros(10, 10), set()

    def start_optimisers(self):
        lr = self.recipe.lr
        self.adam_d = torch.optim.Adam(self.debiased.parameters(), lr=lr)
        self.adam_b = torch.optim.Adam(self.biased.parameters(), lr=0.1 * lr)

    def step(self, step, images, labels, uniform, order):
        recipe = self.recipe
        logits_b = self.biased(images)
        probabilities = torch.softmax(logits_b.detach() / recipe.tau, 1)
        attributes = [row.argmax().item() for row in probabilities]
        for label, attribute, row in zip(labels.tolist(), attributes, probabilities, strict=True):
            self.average(label, attribute, row[label].item())
        corrections = torch.stack([self.column(attribute) for attribute in attributes])
        ramp = min(step / recipe.mixup_steps, 1) if recipe.mixup_steps else 1
        t = 0.5 * math.exp(-5 * (1 - ramp) ** 2)
        share = (1 - 2 * t) + uniform[0].item() * t
        self.partners = self.pair(labels.tolist(), attributes, uniform[1:].tolist(), order)
        mixed = share * images + (1 - share) * images[self.partners]
        mixed_corrections = share * corrections + (1 - share) * corrections[self.partners]
        logits_d = self.debiased(mixed) + torch.log(mixed_corrections + 1e-4)
        loss_d = nn.functional.cross_entropy(logits_d, labels)
        probability = torch.softmax(logits_b, 1)[torch.arange(len(labels)), labels].detach()
        ce = nn.functional.cross_entropy(logits_b, labels, reduction="none")
        loss_b = (recipe.q * probability**recipe.q * ce).mean()
        loss = loss_d + recipe.lambda_dis * loss_b
        for adam in (self.adam_d, self.adam_b):
            adam.zero_grad()
        loss.backward()
        for adam in (self.adam_d, self.adam_b):
            adam.step()
        return loss.item()

    def average(self, label, attribute, value):
        if (label, attribute) in self.visited:
            old, alpha = self.matrix[label, attribute].item(), self.recipe.alpha
            value = alpha * old + (1 - alpha) * value
        self.matrix[label, attribute] = value
        self.visited.add((label, attribute))

    def column(self, attribute):
        column = self.matrix[:, attribute]
        return column / column.sum() if self.recipe.normalise_columns else column.clone()

    @staticmethod
    def pair(labels, attributes, uniform, order):
        partners = [None] * len(labels)
        for label in set(labels):
            members = [row for row, each in enumerate(labels) if each == label]
            minority = [row for row in members if attributes[row] != label]
            shuffled = sorted(members, key=lambda row: order[row])
            for place, row in enumerate(members):
                partners[row] = (
                    minority[int(uniform[row] * len(minority))] if minority else shuffled[place]
                )
        return partners
