"""EnD written down as slowly and literally as it is published, one seed, double precision.

Nothing of the package is used but the initial weights, which the test hands over.
"""

import torch
from literal_lff import network
from torch import nn


class LiteralEnd:
    def __init__(self, recipe):
        self.recipe = recipe
        self.network = network()

    def start_optimiser(self):
        self.adam = torch.optim.Adam(self.network.parameters(), lr=self.recipe.lr)

    def step(self, images, labels, bias):
        encoder, head = self.network
        features = encoder(images)
        features = features / features.norm(dim=1, keepdim=True).clamp(min=1e-12)
        loss = nn.functional.cross_entropy(head(features), labels)
        orthogonal, parallel = regularisers(features, labels.tolist(), bias)
        loss = loss + self.recipe.alpha * orthogonal + self.recipe.beta * parallel
        self.adam.zero_grad()
        loss.backward()
        self.adam.step()
        return loss.item()


def regularisers(features, labels, bias):
    sums, same, close, pairs = dict.fromkeys(bias, 0), 0, 0, 0
    for row in range(len(bias)):
        for column in range(row):
            cosine = features[row] @ features[column]
            if bias[row] == bias[column]:
                sums[bias[row]] = sums[bias[row]] + cosine
                same += 1
            elif labels[row] == labels[column] and bias[row] < bias[column]:
                close = close + (1 + cosine) / 2
                pairs += 1
    orthogonal = sum(abs(each) for each in sums.values()) / same if same else 0
    return orthogonal, 1 - close / pairs if pairs else 0
