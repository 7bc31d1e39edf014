"""AFR written down as slowly and literally as it is published, one seed, double precision.

Nothing of the package is used but the initial weights and random numbers, which the test hands
over.
"""

import torch
from literal_lff import network
from torch import nn


class LiteralAfr:
    def __init__(self, recipe):
        self.recipe = recipe
        self.encoder, self.head = network()
        self.norms = []

    def first_stage(self, images, labels, rows, shuffler):
        """Yield the images and the loss of each step."""
        parameters = [*self.encoder.parameters(), *self.head.parameters()]
        adam = torch.optim.Adam(parameters, lr=self.recipe.lr)
        size, order = self.recipe.batch_size, []
        for _ in range(self.recipe.first_steps):
            if len(order) < size:
                order = torch.randperm(len(rows), generator=shuffler).tolist()
            drawn, order = [rows[place] for place in order[:size]], order[size:]
            logits = self.head(self.encoder(images[drawn]))
            loss = nn.functional.cross_entropy(logits, labels[drawn])
            adam.zero_grad()
            loss.backward()
            adam.step()
            yield drawn, loss.item()

    def second_stage(self, images, labels, rows):
        """Yield the loss of each step."""
        recipe, features, labels = self.recipe, self.encoder(images[rows]).detach(), labels[rows]
        probabilities = torch.softmax(self.head(features).detach(), 1)
        weights = [
            torch.exp(-recipe.weight_gamma * row[label])
            for row, label in zip(probabilities, labels, strict=True)
        ]
        self.weights = torch.stack(weights) / sum(weights)
        first = [each.detach().clone() for each in self.head.parameters()]
        sgd = torch.optim.SGD(self.head.parameters(), lr=recipe.head_lr)
        for _ in range(recipe.steps):
            losses = nn.functional.cross_entropy(self.head(features), labels, reduction="none")
            loss = (self.weights * losses).sum()
            for parameter, start in zip(self.head.parameters(), first, strict=True):
                loss = loss + recipe.lambda_head * ((parameter - start) ** 2).sum()
            sgd.zero_grad()
            loss.backward()
            self.norms.append(nn.utils.clip_grad_norm_(self.head.parameters(), 1).item())
            sgd.step()
            yield loss.item()
