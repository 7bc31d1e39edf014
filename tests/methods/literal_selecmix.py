"""SelecMix written down as slowly and literally as it is published, one seed, double precision.

Nothing of the package is used but the initial weights and the random numbers, which the test hands
over.
"""

import torch
from literal_disent import LiteralEncoder
from torch import nn


def similarity_network():
    layers = [nn.Linear(16, 128).double(), nn.ReLU(), nn.Linear(128, 128).double()]
    return nn.Sequential(LiteralEncoder(), *layers)


class LiteralMixing:
    def __init__(self, recipe):
        self.recipe, self.h = recipe, similarity_network()
        rate, decay = recipe.similarity_lr, recipe.similarity_weight_decay
        self.adam = torch.optim.Adam(self.h.parameters(), lr=rate, weight_decay=decay)

    def vectors(self, images):
        return nn.functional.normalize(self.h(images), dim=1)

    def mix(self, images, labels, uniform):
        with torch.no_grad():
            vectors = self.vectors(images)
        similar = (vectors @ vectors.T).tolist()
        self.same = uniform[0].item() < 0.5
        mixed, targets = [], []
        for i, label in enumerate(labels.tolist()):
            if self.same:
                found = [j for j, each in enumerate(labels.tolist()) if each == label and j != i]
                partner = min(found, key=lambda j, i=i: similar[i][j], default=i)
            else:
                found = [j for j, each in enumerate(labels.tolist()) if each != label]
                partner = max(found, key=lambda j, i=i: similar[i][j])
            share = 0.5 * uniform[1 + i].item()
            mixed.append(share * images[i] + (1 - share) * images[partner])
            targets.append(labels[partner])
        return torch.stack(mixed), torch.stack(targets)

    def step_h(self, images, labels):
        vectors = self.vectors(images)
        total = 0 * vectors.sum()
        for i, label in enumerate(labels.tolist()):
            others = [j for j in range(len(labels)) if j != i]
            products = torch.stack([vectors[i] @ vectors[j] for j in others]) / 0.2
            logs = products - products.logsumexp(0)
            positive = [
                0.7 * torch.exp(log.detach()) ** 0.7 * log
                for j, log in zip(others, logs, strict=True)
                if labels[j] == label
            ]
            if positive:
                total = total - sum(positive) / len(positive)
        loss = total / len(labels)
        self.adam.zero_grad()
        loss.backward()
        self.adam.step()
        return loss.item()
