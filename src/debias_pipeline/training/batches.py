"""Draw the batches of all replicas."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

from debias_pipeline.errors import RecipeError
from debias_pipeline.images import ImageData
from debias_pipeline.methods import Batch, Sampling
from debias_pipeline.randomness import generators
from debias_pipeline.transforms import Transform

# More would cost memory: a batch of photographs takes megabytes.
BATCHES_AHEAD = 4


class BatchStream:
    """An endless stream of batches; every replica and every pass has its own order.

    Batches depend on the seed, the sampling and the stream's name only, so that `skip` restores
    the position in a resumed run.

    If images are on disk or do not fit the device, a thread gathers the next batches while one is
    trained on. Other images are gathered when they are needed, which is faster.
    """

    def __init__(
        self,
        data: ImageData,
        seeds: Sequence[int],
        sampling: Sampling,
        transform: Transform,
        name: str = "",
    ) -> None:
        """Set up.

        Args:
            data: the images.
            seeds: one per replica.
            sampling: how images are drawn.
            transform: for training.
            name: makes the random streams differ from those of another batch stream.

        Raises:
            RecipeError: if a pass has fewer images than a batch.
        """
        self._data = data
        train = data.splits["train"]
        orders = [
            _Order(sampling, replica, len(train), generator)
            for replica, generator in enumerate(generators(seeds, _named("shuffle", name)))
        ]
        labels = torch.tensor(train.labels, device=data.device)
        self._drawn = _draw(orders, labels, train.rows, sampling.batch_size)
        self._transform = transform
        self.augmenters = generators(seeds, _named("augmentation", name))
        self._reader = ThreadPoolExecutor(1, "gather") if data.gathers_ahead else None
        self._ahead: deque[tuple[Tensor, Tensor, Future[Tensor]]] = deque()

    def next(self) -> Batch:
        """Return the next batch, transformed, on the data's device."""
        index, labels, pixels = self._gathered()
        images = self._transform.for_training(pixels, self.augmenters)
        return Batch(images.view(*index.shape, *images.shape[1:]), labels, index)

    def skip(self, batches: int) -> None:
        """Skip batches, without their random transforms; only before the first `next`."""
        for _ in range(batches):
            next(self._drawn)

    def _gathered(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return positions and labels, [R, B], and pixels, uint8, [R · B, H, W, 3], of a batch."""
        if self._reader is None:
            index, labels, rows = next(self._drawn)
            return index, labels, self._data.gather(rows)
        while len(self._ahead) <= BATCHES_AHEAD:
            index, labels, rows = next(self._drawn)
            self._ahead.append((index, labels, self._reader.submit(self._data.gather, rows)))
        index, labels, pixels = self._ahead.popleft()
        return index, labels, pixels.result()


def _draw(
    orders: "Sequence[_Order]", labels: Tensor, rows: Tensor, batch_size: int
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield positions and labels, [R, B], and rows, [R · B], of one batch after another."""
    while True:
        # Labels and rows are looked up for many batches at once, up to the end of the first pass of
        # a replica. Two more operations at every step would slow down small networks.
        images = min(order.left() for order in orders)
        order = torch.stack([each.take(images) for each in orders])
        of_images = rows[order.to(rows.device, non_blocking=True)]
        order = order.to(labels.device, non_blocking=True)
        yield from zip(
            torch.split(order, batch_size, 1),
            torch.split(labels[order], batch_size, 1),
            [each.flatten() for each in torch.split(of_images, batch_size, 1)],
            strict=True,
        )


class _Order:
    """The order of one replica's images, pass after pass."""

    def __init__(
        self, sampling: Sampling, replica: int, images: int, generator: torch.Generator
    ) -> None:
        self._kind, self._batch_size = sampling.kind, sampling.batch_size
        self._images, self._generator = images, generator
        if sampling.values is not None:
            values = sampling.values[replica]
            self._values = (
                torch.repeat_interleave(torch.arange(images), values)
                if self._kind == "counts"
                else values
            )
        size = len(self._values) if self._kind == "counts" else images
        if self._batch_size > size:
            raise RecipeError(
                f"{{recipe}}.batch_size={self._batch_size} is larger than a pass over the "
                f"training split ({size} images); choose a smaller one"
            )
        self._pass = torch.empty(0, dtype=torch.int64)

    def left(self) -> int:
        """Return the number of images left in the pass, in whole batches; at least one batch."""
        if len(self._pass) == 0:
            order = self._shuffle()
            self._pass = order[: len(order) - len(order) % self._batch_size]
        return len(self._pass)

    def take(self, images: int) -> Tensor:
        """Return the positions of the next images, at most as many as are left."""
        taken, self._pass = self._pass[:images], self._pass[images:]
        return taken

    def _shuffle(self) -> Tensor:
        if self._kind == "counts":
            order = torch.randperm(len(self._values), generator=self._generator)
            return self._values[order]
        if self._kind == "weights":
            return torch.multinomial(
                self._values, self._images, replacement=True, generator=self._generator
            )
        return torch.randperm(self._images, generator=self._generator)


def _named(purpose: str, name: str) -> str:
    return f"{purpose} {name}" if name else purpose
