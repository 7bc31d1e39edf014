"""A moving average of the loss of every training image, relative to the largest of its class."""

import torch
from torch import Tensor, nn

# Entries of a table whose maximum goes into one entry of the next: two cache lines.
BLOCK = 32
# Entries of the last table, of all classes and branches of a replica, that a step scans.
MOST_SCANNED = 2**15
# Smaller than any average.
NOT_VISITED = -torch.inf


class ClassNormalisedAverage(nn.Module):
    """Moving averages of per-image losses and their exact per-class maxima.

    At an image's first visit its average is the loss itself; afterwards
    average ← α · average + (1 − α) · loss (Lee et al. 2021, section 3.1; Nam et al. 2020,
    algorithm 1). An image that was never visited counts as 0.

    The largest average of each class over the whole training split is kept by a tree of
    maxima over each class, as deep as its size asks for: a batch of B images renews the blocks
    that it touches, O(B · log(images per class)) whatever became larger or smaller, with no scan
    of the split and without a value read back from the device.
    """

    average: Tensor
    _leaf_of: Tensor
    _offsets: Tensor

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
        self.depth, self.width = _shape_of_tree(int(counts.max()), branches * classes)
        self._leaves_per_class = self.width * BLOCK**self.depth
        order = torch.argsort(labels, stable=True)
        rank_in_class = torch.empty_like(labels)
        starts = torch.cumsum(counts, 0) - counts
        rank_in_class[order] = torch.arange(len(labels)) - starts[labels[order]]
        self._keep("_leaf_of", labels * self._leaves_per_class + rank_in_class)
        stacks = torch.arange(replicas * branches).view(replicas, branches, 1)
        self._keep("_offsets", stacks * (classes * self._leaves_per_class))
        for level in range(self.depth + 1):
            entries = replicas * branches * classes * self.width * BLOCK ** (self.depth - level)
            self._keep(_table(level), torch.full((entries,), NOT_VISITED))

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
        leaves = self._leaves(index).flatten()
        losses = losses.to(self.average.dtype).flatten()
        old = self.average.index_select(0, leaves)
        new = torch.where(old == NOT_VISITED, losses, torch.lerp(losses, old, self.alpha))
        self.average.index_copy_(0, leaves, new)
        self._renew_maxima(leaves)
        return (new / self._class_maxima(leaves)).view(index.shape[0], self.branches, -1)

    def of_all_images(self) -> Tensor:
        """The averages of the whole training split, float32, [R, K, N]."""
        return self._of_leaves(self._all_leaves())

    def of_all_images_normalised(self) -> Tensor:
        """The averages of the whole training split over the largest of their class, in 0..1."""
        leaves = self._all_leaves()
        return self._of_leaves(leaves) / self._class_maxima(leaves)

    def _of_leaves(self, leaves: Tensor) -> Tensor:
        return self.average[leaves].clamp_min(0)

    def _all_leaves(self) -> Tensor:
        every = torch.arange(len(self._leaf_of), device=self._leaf_of.device)
        return self._leaves(every.expand(self.replicas, -1))

    def _leaves(self, index: Tensor) -> Tensor:
        """Where the averages of images lie: [R, n] → [R, K, n]."""
        leaves = self._leaf_of.index_select(0, index.flatten())
        return leaves.view(len(index), 1, -1) + self._offsets

    def _renew_maxima(self, entries: Tensor) -> None:
        for level in range(self.depth):
            blocks = entries // BLOCK
            below = getattr(self, _table(level)).view(-1, BLOCK)
            maxima = below.index_select(0, blocks).amax(1)
            getattr(self, _table(level + 1)).index_copy_(0, blocks, maxima)
            entries = blocks

    def _class_maxima(self, leaves: Tensor) -> Tensor:
        """The largest average of the class, branch and replica that each leaf is of."""
        maxima: Tensor = getattr(self, _table(self.depth)).view(-1, self.width).amax(1)
        maxima = maxima.clamp_min_(torch.finfo(maxima.dtype).tiny)
        return maxima[leaves // self._leaves_per_class]


def _table(level: int) -> str:
    """The buffer of a level of the tree: the averages themselves, then ever fewer maxima."""
    return "average" if level == 0 else f"_maxima_{level}"


def _shape_of_tree(largest_class: int, stacks: int) -> tuple[int, int]:
    """How many times maxima are taken of blocks, and how many a class then has."""
    depth, width = 0, max(1, largest_class)
    while stacks * width > MOST_SCANNED and width > 1:
        depth, width = depth + 1, -(-width // BLOCK)
    return depth, width
