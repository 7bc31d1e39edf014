"""A moving average of the loss of every training image, relative to the largest of its class."""

import torch
from torch import Tensor, nn


class ClassNormalisedAverage(nn.Module):
    """Moving averages of per-image losses and their exact per-class maxima.

    At an image's first visit its average is the loss itself; afterwards
    average ← α · average + (1 − α) · loss (Lee et al. 2021, section 3.1; Nam et al. 2020,
    algorithm 1). An image that was never visited counts as 0.

    The largest average of each class over the whole training split is kept by a tree of
    maxima three levels deep over each class: a batch of B images renews the blocks that it
    touches, O(B · ∛(images per class)) whatever became larger or smaller, with no scan of
    the split and without a value read back from the device.
    """

    average: Tensor
    visited: Tensor
    _leaf_of: Tensor
    _labels: Tensor
    _block_maxima: Tensor
    _row_maxima: Tensor

    def __init__(
        self, labels: Tensor, classes: int, replicas: int, branches: int, alpha: float
    ) -> None:
        """Set up.

        Args:
            labels: int64, [N], of the training split.
            classes: C.
            replicas: R.
            branches: K, the networks whose losses are averaged.
            alpha: the share of the old average that is kept.
        """
        super().__init__()
        self.alpha = alpha
        self.replicas, self.branches, self.classes = replicas, branches, classes
        counts = torch.bincount(labels, minlength=classes)
        self.fanout = _fanout(int(counts.max()))
        stacks = replicas * branches * classes
        order = torch.argsort(labels, stable=True)
        rank_in_class = torch.empty_like(labels)
        starts = torch.cumsum(counts, 0) - counts
        rank_in_class[order] = torch.arange(len(labels)) - starts[labels[order]]
        self._keep("_leaf_of", labels * self.fanout**3 + rank_in_class)
        self._keep("_labels", labels)
        self._keep("average", torch.zeros(stacks * self.fanout**3))
        self._keep("visited", torch.zeros(replicas, len(labels), dtype=torch.bool))
        self._keep("_block_maxima", torch.zeros(stacks * self.fanout**2))
        self._keep("_row_maxima", torch.zeros(stacks * self.fanout))

    def _keep(self, name: str, tensor: Tensor) -> None:
        # Per-image state is no part of the networks that are kept.
        self.register_buffer(name, tensor, persistent=False)

    @torch.no_grad()
    def update(self, index: Tensor, losses: Tensor) -> Tensor:
        """Take in a batch's losses; return its averages over the class maxima after that.

        Args:
            index: int64, [R, B], positions in the training split, none twice in a replica.
            losses: [R, K, B].

        Returns:
            float32, [R, K, B], in 0..1.
        """
        losses = losses.to(self.average.dtype)
        leaves = self._leaves(index)
        old = self.average[leaves]
        seen = self.visited.gather(1, index).unsqueeze(1)
        new = torch.where(seen, torch.lerp(losses, old, self.alpha), losses)
        self.average[leaves] = new
        self.visited.scatter_(1, index, True)
        self._renew_maxima(leaves.flatten())
        return new / self._class_maxima(index)

    def of_all_images(self) -> Tensor:
        """The averages of the whole training split, float32, [R, K, N]."""
        return self.average[self._leaves(self._every_image())]

    def of_all_images_normalised(self) -> Tensor:
        """The averages of the whole training split over the largest of their class, in 0..1."""
        return self.of_all_images() / self._class_maxima(self._every_image())

    def _every_image(self) -> Tensor:
        every = torch.arange(len(self._labels), device=self._labels.device)
        return every.expand(self.replicas, -1)

    def _leaves(self, index: Tensor) -> Tensor:
        stacks = torch.arange(self.replicas * self.branches, device=index.device)
        offsets = stacks.view(self.replicas, self.branches, 1) * (self.classes * self.fanout**3)
        return self._leaf_of[index].unsqueeze(1) + offsets

    def _renew_maxima(self, leaves: Tensor) -> None:
        blocks = leaves // self.fanout
        self._block_maxima[blocks] = self.average.view(-1, self.fanout)[blocks].amax(1)
        rows = blocks // self.fanout
        self._row_maxima[rows] = self._block_maxima.view(-1, self.fanout)[rows].amax(1)

    def _class_maxima(self, index: Tensor) -> Tensor:
        shape = (self.replicas, self.branches, self.classes, self.fanout)
        maxima = self._row_maxima.view(shape).amax(-1)
        labels = self._labels[index].unsqueeze(1).expand(-1, self.branches, -1)
        return maxima.gather(2, labels).clamp_min(torch.finfo(maxima.dtype).tiny)


def _fanout(largest_class: int) -> int:
    """The smallest whole number whose cube holds the largest class."""
    fanout = 1
    while fanout**3 < largest_class:
        fanout += 1
    return fanout
