"""DebiAN written down as slowly and literally as it is published, one seed, double precision.

Nothing of the package is used but the initial weights, which the test hands over.
"""

import torch
from literal_lff import network

EPSILON = 1e-6


class LiteralDebian:
    def __init__(self, recipe):
        self.recipe = recipe
        self.classifier, self.discoverer = network(), network()

    def start_optimisers(self):
        lr = self.recipe.lr
        self.adam_c = torch.optim.Adam(self.classifier.parameters(), lr=lr)
        self.adam_d = torch.optim.Adam(self.discoverer.parameters(), lr=lr)

    def classifier_step(self, images, labels):
        logits, outputs = self.classifier(images), self.discoverer(images).detach()
        total = 0
        for label in labels.unique():
            rows = [row for row, each in enumerate(labels) if each == label]
            p, s = self.of_rows(logits, outputs, rows, label)
            if self.mean(1 - s, p) < self.mean(s, p):
                s = 1 - s
            total = total + ((1 + s) * -torch.log(p)).sum()
        loss = total / len(labels)
        self.update(self.adam_c, loss)
        return loss.item()

    def discoverer_step(self, images, labels):
        logits, outputs = self.classifier(images).detach(), self.discoverer(images)
        loss = 0
        for label in labels.unique():
            rows = [row for row, each in enumerate(labels) if each == label]
            p, s = self.of_rows(logits, outputs, rows, label)
            difference = (self.mean(s, p) - self.mean(1 - s, p)).abs()
            imbalance = (s.mean() - (1 - s).mean()).abs()
            loss = loss - torch.log(EPSILON + difference)
            loss = loss - self.recipe.penalty * torch.log(EPSILON + 1 - imbalance)
        self.update(self.adam_d, loss)
        return loss.item()

    @staticmethod
    def of_rows(logits, outputs, rows, label):
        return torch.softmax(logits[rows], 1)[:, label], torch.sigmoid(outputs[rows])[:, label]

    @staticmethod
    def mean(s, p):
        return (s * p).sum() / (s.sum() + EPSILON)

    @staticmethod
    def update(adam, loss):
        adam.zero_grad()
        loss.backward()
        adam.step()
