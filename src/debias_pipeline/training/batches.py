"""The batches of all replicas."""

from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

from debias_pipeline.errors import RecipeError
from debias_pipeline.evaluation import ImageData
from debias_pipeline.methods import Batch
from debias_pipeline.randomness import generators
from debias_pipeline.transforms import Transform

# Enough for a disk to even out; a batch of photographs takes megabytes.
BATCHES_AHEAD = 4


class BatchStream:
    """An endless stream of batches, every replica in an order of its own.

    Each pass over the training split is a fresh shuffle; the last incomplete batch of a
    pass is dropped.

    Where images lie on disk, a thread gathers the next batches while one is trained on: reading
    then takes no time of its own. What is drawn is the same. The thread ends with the stream.
    Images in memory are gathered when they are needed, which is faster.
    """

    def __init__(
        self, data: ImageData, seeds: Sequence[int], batch_size: int, transform: Transform
    ) -> None:
        """Set up.

        Args:
            data: the images.
            seeds: one per replica.
            batch_size: B.
            transform: what is done to the images.

        Raises:
            RecipeError: if the training split has fewer images than a batch.
        """
        train = data.splits["train"]
        if batch_size > len(train):
            raise RecipeError(
                f"{{recipe}}.batch_size={batch_size} is larger than the training split "
                f"({len(train)} images): choose a smaller one"
            )
        self._data = data
        self._rows = train.rows
        self._labels = torch.tensor(train.labels, device=data.device)
        self._shufflers = generators(seeds, "shuffle")
        self._transform = transform
        self._augmenters = generators(seeds, "augmentation")
        self._batches: list[tuple[Tensor, Tensor, Tensor]] = []
        self._batch_size = batch_size
        self._position = 0
        self._reader = ThreadPoolExecutor(1, "gather") if data.on_disk else None
        self._ahead: deque[tuple[Tensor, Tensor, Future[Tensor]]] = deque()

    def next(self) -> Batch:
        """The next batch, transformed, on the data's device."""
        index, labels, pixels = self._gathered()
        images = self._transform.for_training(pixels, self._augmenters)
        return Batch(images.view(*index.shape, *images.shape[1:]), labels, index)

    def _gathered(self) -> tuple[Tensor, Tensor, Tensor]:
        """Positions and labels, [R, B], and pixels, uint8, [R · B, H, W, 3], of the next batch."""
        if self._reader is None:
            index, labels, rows = self._draw()
            return index, labels, self._data.gather(rows)
        while len(self._ahead) <= BATCHES_AHEAD:
            index, labels, rows = self._draw()
            self._ahead.append((index, labels, self._reader.submit(self._data.gather, rows)))
        index, labels, pixels = self._ahead.popleft()
        return index, labels, pixels.result()

    def _draw(self) -> tuple[Tensor, Tensor, Tensor]:
        """Positions and labels, [R, B], and rows, [R · B], of the batch after those drawn."""
        if self._position == len(self._batches):
            self._shuffle()
        self._position += 1
        return self._batches[self._position - 1]

    def _shuffle(self) -> None:
        images = len(self._rows)
        orders = [torch.randperm(images, generator=each) for each in self._shufflers]
        whole = images - images % self._batch_size
        order = torch.stack(orders)[:, :whole].to(self._data.device, non_blocking=True)
        batches = torch.split(order, self._batch_size, 1)
        # Looked up once a pass: at every step it would be two more operations, which a small
        # network's step notices.
        labels = torch.split(self._labels[order], self._batch_size, 1)
        rows = [self._rows[each].flatten() for each in batches]
        self._batches = list(zip(batches, labels, rows, strict=True))
        self._position = 0
