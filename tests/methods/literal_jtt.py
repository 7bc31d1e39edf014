"""JTT written down as slowly and literally as it is published, one seed, double precision.

The error set is of a pass after the first stage. Nothing of the package is used but the initial
weights and the shuffles' random numbers, which the test hands over.
"""

import torch
from literal_lff import network
from torch import nn


class LiteralJtt:
    def __init__(self, recipe):
        self.recipe = recipe
        self.first, self.second = network(), network()

    def steps(self, images, labels, first_shuffler, second_shuffler):
        """Yield the images and the loss of each step, first stage and second."""
        once = list(range(len(labels)))
        steps = self.recipe.first_steps
        yield from self.train(self.first, steps, images, labels, once, first_shuffler)
        self.errors = []
        for image, label in enumerate(labels.tolist()):
            if self.first(images[[image]])[0].argmax().item() != label:
                self.errors.append(image)
        repeated = []
        for image in once:
            repeated += [image] * (1 + self.recipe.up if image in self.errors else 1)
        steps = self.recipe.steps
        yield from self.train(self.second, steps, images, labels, repeated, second_shuffler)

    def train(self, network, steps, images, labels, multiset, shuffler):
        adam = torch.optim.Adam(network.parameters(), lr=self.recipe.lr)
        size, order = self.recipe.batch_size, []
        for _ in range(steps):
            if len(order) < size:
                order = torch.randperm(len(multiset), generator=shuffler).tolist()
            drawn, order = [multiset[place] for place in order[:size]], order[size:]
            loss = nn.functional.cross_entropy(network(images[drawn]), labels[drawn])
            adam.zero_grad()
            loss.backward()
            adam.step()
            yield drawn, loss.item()
