"""The batches of all replicas."""

from collections.abc import Sequence

import torch
from torch import Tensor

from debias_pipeline.errors import UserError
from debias_pipeline.evaluation import ImageData
from debias_pipeline.methods import Batch
from debias_pipeline.randomness import generators
from debias_pipeline.transforms import Transform


class BatchStream:
    """An endless stream of batches, every replica in an order of its own.

    Each pass over the training split is a fresh shuffle; the last incomplete batch of a
    pass is dropped.
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
            UserError: if the training split has fewer images than a batch.
        """
        train = data.splits["train"]
        if batch_size > len(train):
            raise UserError(
                f"recipe.batch_size={batch_size} is larger than the training split "
                f"({len(train)} images): choose a smaller one"
            )
        self._data = data
        self._rows = train.rows
        self._labels = torch.tensor(train.labels, device=data.device)
        self._shufflers = generators(seeds, "shuffle")
        self._transform = transform
        self._augmenters = generators(seeds, "augmentation")
        self._batches: tuple[Tensor, ...] = ()
        self._batch_size = batch_size
        self._position = 0

    def next(self) -> Batch:
        """The next batch, transformed, on the data's device."""
        if self._position == len(self._batches):
            self._shuffle()
        index = self._batches[self._position]
        self._position += 1
        pixels = self._data.gather(self._rows[index].flatten())
        images = self._transform.for_training(pixels, self._augmenters)
        return Batch(images.view(*index.shape, *images.shape[1:]), self._labels[index], index)

    def _shuffle(self) -> None:
        images = len(self._rows)
        orders = [torch.randperm(images, generator=each) for each in self._shufflers]
        whole = images - images % self._batch_size
        order = torch.stack(orders)[:, :whole].to(self._data.device)
        self._batches = torch.split(order, self._batch_size, 1)
        self._position = 0
