"""DisEnt written down as slowly and literally as it is published, one seed, double precision.

Nothing of the package is used but the initial weights and the random permutations, which the
test hands over.
"""

import numpy as np
import torch
from torch import nn

EPSILON = 1e-8


class LiteralEncoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(
            [nn.Linear(2352, 100), nn.Linear(100, 100), nn.Linear(100, 16)]
        ).double()

    def forward(self, images):
        hidden = images.reshape(len(images), -1) / 255
        for layer in self.layers:
            hidden = torch.relu(layer(hidden))
        return hidden


class LiteralAverage:
    def __init__(self, labels, alpha):
        self.labels, self.alpha = labels, alpha
        self.values = np.zeros(len(labels))
        self.visited = np.zeros(len(labels), dtype=bool)

    def update(self, index, losses):
        for position, loss in zip(index, losses, strict=True):
            if self.visited[position]:
                loss = self.alpha * self.values[position] + (1 - self.alpha) * loss
            self.values[position] = loss
            self.visited[position] = True

    def normalised(self, index):
        largest = [self.values[self.labels == self.labels[position]].max() for position in index]
        return self.values[index] / np.array(largest)


class LiteralDisent:
    def __init__(self, labels, recipe):
        self.recipe = recipe
        self.encoder_i, self.encoder_b = LiteralEncoder(), LiteralEncoder()
        self.head_i, self.head_b = nn.Linear(32, 10).double(), nn.Linear(32, 10).double()
        self.average_i = LiteralAverage(labels, recipe.alpha)
        self.average_b = LiteralAverage(labels, recipe.alpha)

    def start_optimisers(self):
        intrinsic = [*self.encoder_i.parameters(), *self.head_i.parameters()]
        bias = [*self.encoder_b.parameters(), *self.head_b.parameters()]
        self.adams = [torch.optim.Adam(each, lr=self.recipe.lr) for each in (intrinsic, bias)]
        self.schedules = [
            torch.optim.lr_scheduler.StepLR(adam, self.recipe.decay_every, self.recipe.gamma)
            for adam in self.adams
        ]

    def step(self, step, images, labels, index, permutation):
        recipe, index = self.recipe, index.numpy()
        ce = nn.CrossEntropyLoss(reduction="none")
        z_i, z_b = self.encoder_i(images), self.encoder_b(images)
        loss_i = ce(self.head_i(torch.cat([z_i, z_b.detach()], 1)), labels)
        loss_b = ce(self.head_b(torch.cat([z_i.detach(), z_b], 1)), labels)
        self.average_i.update(index, loss_i.detach().numpy())
        self.average_b.update(index, loss_b.detach().numpy())
        d, b = self.average_i.normalised(index), self.average_b.normalised(index)
        weights = torch.from_numpy(b / (b + d + EPSILON))
        dis_i = (weights * loss_i).mean()
        dis_b = self.gce(self.head_b(torch.cat([z_i.detach(), z_b], 1)), labels).mean()
        loss = dis_i + recipe.lambda_dis * dis_b
        if step > recipe.swap_start:
            z_swap, y_swap = z_b[permutation], labels[permutation]
            swap_logits = self.head_i(torch.cat([z_i, z_swap.detach()], 1))
            swap_i = (weights * ce(swap_logits, labels)).mean()
            swap_b = self.gce(self.head_b(torch.cat([z_i.detach(), z_swap], 1)), y_swap).mean()
            loss = loss + recipe.lambda_swap * (swap_i + recipe.lambda_swap_b * swap_b)
        for adam in self.adams:
            adam.zero_grad()
        loss.backward()
        for adam in self.adams:
            adam.step()
        if step >= recipe.swap_start:
            for schedule in self.schedules:
                schedule.step()
        return loss.item(), weights

    def gce(self, logits, labels):
        q = self.recipe.q
        probability = torch.softmax(logits, 1)[torch.arange(len(labels)), labels]
        ce = nn.functional.cross_entropy(logits, labels, reduction="none")
        return ce * (q * probability.detach() ** q)
