"""Echoes written down as slowly and literally as it is published, one seed, double precision.

The debiased network makes no step in the first epoch. Nothing of the package is used but the
initial weights, which the test hands over.
"""

import torch
from literal_lff import network
from torch import nn


class LiteralEchoes:
    def __init__(self, recipe, labels):
        self.recipe, self.labels = recipe, labels.tolist()
        self.debiased, self.biased = network(), network()
        self.w_b, self.w_d = [1.0] * len(labels), [0.0] * len(labels)

    def start_optimisers(self):
        options = {"lr": self.recipe.lr, "weight_decay": self.recipe.weight_decay}
        self.adam_d = torch.optim.Adam(self.debiased.parameters(), **options)
        self.adam_b = torch.optim.Adam(self.biased.parameters(), **options)

    def step(self, images, labels, index):
        w_b = torch.tensor([self.w_b[i] for i in index])
        w_d = torch.tensor([self.w_d[i] for i in index])
        ce = nn.CrossEntropyLoss(reduction="none")
        loss = (w_b * ce(self.biased(images), labels)).mean()
        loss = loss + 1000 * (w_d * ce(self.debiased(images), labels)).mean()
        adams = [self.adam_b, self.adam_d] if any(self.w_d) else [self.adam_b]
        for adam in (self.adam_b, self.adam_d):
            adam.zero_grad()
        loss.backward()
        for adam in adams:
            adam.step()
        return loss.item()

    def end_of_epoch(self, images):
        predicted = self.biased(images).argmax(1).tolist()
        self.update([p == y for p, y in zip(predicted, self.labels, strict=True)])

    def update(self, correct):
        images = range(len(self.labels))
        of_class = {c: [i for i in images if self.labels[i] == c] for c in set(self.labels)}
        for members in of_class.values():
            wrong = [i for i in members if not correct[i]]
            if len(wrong) < self.recipe.error_threshold * len(members):
                for i in wrong:
                    self.w_b[i] *= self.recipe.alpha
                largest = max(self.w_b)
                self.w_b = [each / (largest + 1e-8) for each in self.w_b]
        self.w_d = [1 / (each + 1e-8) for each in self.w_b]
        sums = {c: sum(self.w_d[i] for i in members) for c, members in of_class.items()}
        product = 1.0
        for each in sums.values():
            product *= each
        for c, members in of_class.items():
            for i in members:
                self.w_d[i] *= product / sums[c]
        largest = max(self.w_d)
        self.w_d = [each / largest for each in self.w_d]
