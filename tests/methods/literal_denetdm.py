"""DeNetDM written down as slowly and literally as it is published, one seed, double precision.

The first stage ends with its last step. Nothing of the package is used but the initial weights,
which the test hands over.
"""

import copy

import torch
from torch import nn


def layers(depth):
    sizes = [2352] + [100] * depth
    parts = []
    for i in range(depth):
        parts += [nn.Linear(sizes[i], sizes[i + 1]), nn.ReLU()]
    return nn.Sequential(nn.Flatten(), *parts).double()


class LiteralDenetdm:
    def __init__(self, recipe):
        self.recipe = recipe
        self.deep, self.shallow, self.target = layers(4), layers(2), layers(4)
        self.first_head = nn.Linear(100, 10).double()

    def start_first_stage(self):
        networks = (self.deep, self.shallow, self.first_head)
        self.adam = torch.optim.Adam(
            [each for network in networks for each in network.parameters()],
            lr=self.recipe.first_lr,
            weight_decay=self.recipe.first_weight_decay,
        )

    def first_step(self, images, labels):
        logits = self.first_head(self.deep(images) + self.shallow(images))
        return self.update(nn.functional.cross_entropy(logits, labels))

    def start_second_stage(self):
        self.head = copy.deepcopy(self.first_head)
        self.adam = torch.optim.Adam(
            [*self.target.parameters(), *self.head.parameters()],
            lr=self.recipe.lr,
            weight_decay=self.recipe.weight_decay,
        )

    def second_step(self, images, labels):
        recipe, t = self.recipe, self.recipe.temperature
        logits = self.head(self.deep(images).detach() + self.target(images))
        experts = nn.functional.cross_entropy(logits, labels)
        teacher = torch.softmax(self.first_head(self.shallow(images)).detach() / t, 1)
        student = torch.softmax(self.head(self.target(images)) / t, 1)
        distillation = 0
        for wanted, given in zip(teacher, student, strict=True):
            distillation = distillation - (wanted * torch.log(given)).sum()
        distillation = t**2 * distillation / len(labels)
        return self.update(
            recipe.lambda_experts * experts + recipe.lambda_distillation * distillation
        )

    def update(self, loss):
        self.adam.zero_grad()
        loss.backward()
        self.adam.step()
        return loss.item()
