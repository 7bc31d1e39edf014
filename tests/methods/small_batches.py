"""Batches of a handful of images, and networks handed over to what is written down literally."""

import numpy as np
import torch

from debias_pipeline.methods import Batch

SHAPE = (28, 28, 3)
IMAGES, BATCH = 60, 16


def labels_of(random):
    return torch.from_numpy(np.concatenate([np.arange(10), random.integers(0, 10, IMAGES - 10)]))


def images_of(random, dtype=np.float32):
    return torch.from_numpy(random.random((IMAGES, 3, 28, 28)).astype(dtype) * 50)


def batch_of(random, images, labels, replicas=1):
    index = torch.from_numpy(
        np.stack([random.permutation(IMAGES)[:BATCH] for _ in range(replicas)])
    )
    return Batch(images[index], labels[index], index)


def copy_branch(method, branch, encoder, head):
    """Give a branch of the first replica's weights to a literal encoder and head."""
    copy_network(method.encoder, method.heads, branch, encoder, head)


@torch.no_grad()
def copy_network(our_encoder, our_head, branch, encoder, head):
    """Give the weights of one branch of the first replica to a literal encoder and head."""
    ours = [our_encoder.first, our_encoder.second, our_encoder.third]
    for layer, theirs in zip(ours, encoder.layers, strict=True):
        first = layer is our_encoder.first
        weight = layer.weight[0, :, branch] if first else layer.weight[0, branch]
        theirs.weight.copy_(weight.T)
        theirs.bias.copy_(layer.bias[0, branch])
    head.weight.copy_(our_head.weight[0, branch].T)
    head.bias.copy_(our_head.bias[0, branch])
