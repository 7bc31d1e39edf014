"""DFR's second stage written down slowly and literally, one seed, double precision.

Nothing of the package is used but random numbers, which the test hands over.
"""

import torch
from torch import nn

SAMPLES = 10


def balanced(rows, groups, shuffler):
    """As many images of each group as the smallest has, ten times."""
    smallest = min(groups.count(group) for group in set(groups))
    samples = []
    for _ in range(SAMPLES):
        order, sample = torch.randperm(len(rows), generator=shuffler).tolist(), []
        for group in sorted(set(groups)):
            sample += [rows[place] for place in order if groups[place] == group][:smallest]
        samples.append(sample)
    return samples


def second_stage(recipe, features, labels, samples):
    """Return the loss of each step, and the mean weight and bias of all heads."""
    mean, scale = features.mean(0), ((features - features.mean(0)) ** 2).mean(0).sqrt()
    # A unit that is 0 for all images stays 0.
    scaled = torch.where(scale > 0, (features - mean) / scale, 0)
    heads = [nn.Linear(features.shape[1], 10).double() for _ in samples]
    for head in heads:
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)
    totals, rate = [], recipe.head_lr
    for _ in range(recipe.steps):
        losses = []
        for head, sample in zip(heads, samples, strict=True):
            penalty = 1 / (recipe.inverse_penalty * len(sample))
            loss = nn.functional.cross_entropy(head(scaled[sample]), labels[sample])
            losses.append(loss.item() + penalty * head.weight.abs().sum().item())
            head.zero_grad()
            loss.backward()
            with torch.no_grad():
                head.bias -= rate * head.bias.grad
                moved = head.weight - rate * head.weight.grad
                head.weight.copy_(nn.functional.softshrink(moved, rate * penalty))
        totals.append(sum(losses) / len(losses))
    weights = [torch.stack([getattr(head, name) for head in heads]) for name in ("weight", "bias")]
    return totals, *(each.mean(0).detach() for each in weights)
