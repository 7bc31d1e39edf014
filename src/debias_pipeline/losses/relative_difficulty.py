"""How much harder one network finds an image than the other: the weight W."""

from torch import Tensor

# Positions of the two networks on the branch axis.
INTRINSIC, BIAS = 0, 1


def relative_difficulty(normalised: Tensor) -> Tensor:
    """W = b / (b + d + 1e-8): near 1 where only the bias branch finds an image hard.

    The relative difficulty score of Nam et al. (NeurIPS 2020), of averages divided by the largest
    of their class as in the published code.

    Args:
        normalised: moving averages of both branches' losses in 0..1, [R, 2, B].

    Returns:
        [R, B], in 0..1.
    """
    bias, intrinsic = normalised[:, BIAS], normalised[:, INTRINSIC]
    return bias / (bias + intrinsic + 1e-8)
