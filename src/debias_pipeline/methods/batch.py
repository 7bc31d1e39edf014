"""What passes between the training loop and a method in a step: a batch and its losses."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from debias_pipeline.errors import UserError


@dataclass(frozen=True)
class Task:
    """The size of a learning problem, and its seeds.

    Attributes:
        image_shape: height, width, channels.
        classes: C, the number of labels.
        seeds: one per replica; R of them.
    """

    image_shape: tuple[int, int, int]
    classes: int
    seeds: Sequence[int]

    @property
    def replicas(self) -> int:
        """Return R, the number of replicas."""
        return len(self.seeds)


@dataclass(frozen=True)
class Batch:
    """The images of one step; every replica has its own.

    Attributes:
        images: [R, B, 3, H, W], see `Encoder.forward`.
        labels: int64, [R, B].
        index: int64, [R, B], positions in the training split. If the sampling is `shuffle`, a
            replica has no position twice.
    """

    images: Tensor
    labels: Tensor
    index: Tensor


@dataclass(frozen=True)
class Losses:
    """The losses of one step.

    Attributes:
        total: float32, [R], is minimised. A replica's loss depends on its own networks only.
        terms: parts of the total that are recorded, detached, [R] each. Names begin with `loss`;
            the total is recorded as `loss` without being given.
        weights: weight of each image in the loss, [R, B], or None if the method gives none.
    """

    total: Tensor
    terms: Mapping[str, Tensor] = field(default_factory=dict)
    weights: Tensor | None = None


def check_shape(what: str, tensor: Tensor, shape: tuple[int, ...], meaning: str) -> None:
    """Check the shape of a tensor that a method returned.

    Args:
        what: start of the message, such as "vanilla: its predictions have".
        tensor: as returned.
        shape: as required.
        meaning: the axes in words, for the message.

    Raises:
        UserError: if the shape is another one.
    """
    if tuple(tensor.shape) != shape:
        raise UserError(
            f"{what} the shape {list(tensor.shape)}; {list(shape)}, {meaning}, is required"
        )
