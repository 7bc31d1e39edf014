"""ReBias written down as slowly and literally as it is published, one seed, double precision.

Nothing of the package is used but the initial weights, which the test hands over.
"""

import torch
from literal_lff import network
from torch import nn


class LiteralPixelNetwork(nn.Module):
    """Convolutions with kernels of one pixel, and the mean over every other row and column."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 16, 1).double(), nn.Conv2d(16, 32, 1).double()
        self.head = nn.Linear(32, 10).double()

    def features(self, images):
        hidden = torch.relu(self.second(torch.relu(self.first(images[:, :, ::2, ::2]))))
        return hidden.mean((2, 3))


class LiteralRebias:
    def __init__(self, recipe):
        self.recipe = recipe
        self.main, self.biased = network(), LiteralPixelNetwork()

    def start_optimisers(self):
        lr = self.recipe.lr
        self.adam_f = torch.optim.Adam(self.main.parameters(), lr=lr)
        self.adam_g = torch.optim.Adam(self.biased.parameters(), lr=lr)

    def step(self, images, pixels, labels):
        """One update of g and one of f; both see the same pixels, f flattened in our order."""
        encoder, head = self.main
        of_f, of_g = encoder(images), self.biased.features(pixels)
        loss_g = nn.functional.cross_entropy(self.biased.head(of_g), labels)
        loss_g = loss_g - self.recipe.lambda_g * self.hsic(of_g, of_f)
        self.update(self.adam_g, loss_g)
        of_f, of_g = encoder(images), self.biased.features(pixels)
        loss_f = nn.functional.cross_entropy(head(of_f), labels)
        loss_f = loss_f + self.recipe.lambda_f * self.hsic(of_f, of_g)
        self.update(self.adam_f, loss_f)
        return loss_g.item(), loss_f.item()

    def hsic(self, first, second):
        n = len(first)
        k, m = self.kernel(first), self.kernel(second)
        one = torch.ones(n, 1, dtype=k.dtype)
        value = torch.trace(k @ m) + (one.T @ k @ one) * (one.T @ m @ one) / ((n - 1) * (n - 2))
        value = value - 2 / (n - 2) * (one.T @ k @ m @ one)
        return (value / (n * (n - 3))).squeeze()

    def kernel(self, features):
        n = len(features)
        squared = ((features[:, None] - features[None]) ** 2).sum(2)
        if self.recipe.bandwidth == "median":
            pairs = [squared[i, j].item() for i in range(n) for j in range(i)]
            variance = sorted(pairs)[(len(pairs) - 1) // 2]
        else:
            variance = self.recipe.sigma**2
        return torch.exp(-squared / (2 * variance)) * (1 - torch.eye(n, dtype=squared.dtype))

    @staticmethod
    def update(adam, loss):
        adam.zero_grad()
        loss.backward()
        adam.step()
