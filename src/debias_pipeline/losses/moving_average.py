"""Moving averages of the losses of all training images, relative to the largest of each class."""

import torch
from torch import Tensor, nn

# Number of entries whose maximum is one entry of the next level: two cache lines.
BLOCK = 32
# Largest number of entries of the last level, over classes and branches of a replica, which every
# step scans. One step at 5,500,000 images and two branches takes 0.20 ms (5 seeds: 0.54) with the
# tree and 1.5 ms (7.4) with a scan of all averages; at 55,000 images 0.09 (0.20) and 0.07 (0.14).
MOST_SCANNED = 2**15
# Average of an image that was never drawn; smaller than any other.
NOT_VISITED = -torch.inf


class ClassNormalisedAverage(nn.Module):
    """Moving averages of the losses of images, and their maxima over each class.

    When an image is drawn for the first time, its average is its loss; afterwards
    average ← α · average + (1 − α) · loss (Lee et al. 2021, section 3.1; Nam et al. 2020,
    algorithm 1). The average of an image that was never drawn is 0.

    Maxima over the whole training split are kept in a tree: each entry of a level is the maximum
    of a block of BLOCK entries of the level below. A batch of B images updates only the blocks of
    its images, O(B · log(images per class)), without reading a value back from the device.
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
            branches: K, number of networks whose losses are averaged.
            alpha: weight of the old average.
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
        # State of single images is not part of checkpoints.
        self.register_buffer(name, tensor, persistent=False)

    @torch.no_grad()
    def update(self, index: Tensor, losses: Tensor) -> Tensor:
        """Update averages with the losses of a batch; return them divided by their class maxima.

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
        self._update_maxima(leaves)
        return (new / self._class_maxima(leaves)).view(index.shape[0], self.branches, -1)

    def of_all_images(self) -> Tensor:
        """Return the averages of the whole training split, float32, [R, K, N]."""
        return self._of_leaves(self._all_leaves())

    def of_all_images_normalised(self) -> Tensor:
        """Return the averages of the whole training split divided by class maxima, in 0..1."""
        leaves = self._all_leaves()
        return self._of_leaves(leaves) / self._class_maxima(leaves)

    def _of_leaves(self, leaves: Tensor) -> Tensor:
        return self.average[leaves].clamp_min(0)

    def _all_leaves(self) -> Tensor:
        every = torch.arange(len(self._leaf_of), device=self._leaf_of.device)
        return self._leaves(every.expand(self.replicas, -1))

    def _leaves(self, index: Tensor) -> Tensor:
        """Return the positions of averages, [R, K, n], from those of images, [R, n]."""
        leaves = self._leaf_of.index_select(0, index.flatten())
        return leaves.view(len(index), 1, -1) + self._offsets

    def _update_maxima(self, entries: Tensor) -> None:
        for level in range(self.depth):
            blocks = entries // BLOCK
            below = getattr(self, _table(level)).view(-1, BLOCK)
            maxima = below.index_select(0, blocks).amax(1)
            getattr(self, _table(level + 1)).index_copy_(0, blocks, maxima)
            entries = blocks

    def _class_maxima(self, leaves: Tensor) -> Tensor:
        """Return for each leaf the largest average of its class, branch and replica."""
        maxima: Tensor = getattr(self, _table(self.depth)).view(-1, self.width).amax(1)
        maxima = maxima.clamp_min_(torch.finfo(maxima.dtype).tiny)
        return maxima[leaves // self._leaves_per_class]


def _table(level: int) -> str:
    """Return the buffer name of a level of the tree; level 0 holds the averages."""
    return "average" if level == 0 else f"_maxima_{level}"


def _shape_of_tree(largest_class: int, stacks: int) -> tuple[int, int]:
    """Return the number of levels of maxima, and the number of entries per class in the last."""
    depth, width = 0, max(1, largest_class)
    while stacks * width > MOST_SCANNED and width > 1:
        depth, width = depth + 1, -(-width // BLOCK)
    return depth, width
