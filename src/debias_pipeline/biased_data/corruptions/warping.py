"""Images moved pixel by pixel: looked up at places that lie between pixels or outside."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from debias_pipeline.biased_data.corruptions.planes import SIDE, Floats


def warp_affine(planes: Floats, shifts: npt.NDArray[np.float64]) -> Floats:
    """Map three points of each image to shifted places, and the rest along with them.

    Args:
        planes: 3 × N × 32 × 32.
        shifts: N × 3 × 2, (right, down) in pixels, of the points (26, 26), (26, 6) and (6, 6).
    """
    centre, reach = SIDE // 2, SIDE // 3
    signs = np.array([(1, 1), (1, -1), (-1, -1)])
    points = np.concatenate([centre + reach * signs, np.ones((3, 1))], axis=1)
    moved = points + np.pad(shifts, ((0, 0), (0, 0), (0, 1)))
    # Backwards: from where a pixel comes to lie to where it came from.
    back = np.linalg.inv(moved) @ points
    rows, columns = np.indices((SIDE, SIDE))
    (xx, xy), (yx, yy), (x0, y0) = (back[:, i, :2].T[:, :, None, None] for i in range(3))
    return sample(
        planes, xy * columns + yy * rows + y0, xx * columns + yx * rows + x0, fold_at_centre
    )


def sample(
    planes: Floats,
    rows: npt.NDArray[np.float64],
    columns: npt.NDArray[np.float64],
    fold: Callable[[npt.NDArray[np.intp]], npt.NDArray[np.intp]],
) -> Floats:
    """Look images up between pixels, linearly.

    Args:
        planes: 3 × N × 32 × 32.
        rows: N × 32 × 32, where to look.
        columns: likewise.
        fold: brings pixel numbers outside the image back into it.
    """
    n = planes.shape[1]
    flat = planes.reshape(3, -1)
    start = (np.arange(n) * SIDE * SIDE)[:, None, None]
    top, left = np.floor(rows).astype(np.intp), np.floor(columns).astype(np.intp)
    down, right = (rows - top).astype(np.float32), (columns - left).astype(np.float32)
    result = np.zeros_like(planes)
    for row, row_weight in ((top, 1 - down), (top + 1, down)):
        line = start + fold(row) * SIDE
        for column, column_weight in ((left, 1 - right), (left + 1, right)):
            result += flat[:, line + fold(column)] * (row_weight * column_weight)
    return result


def fold_at_centre(places: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """Mirror at the middle of the outermost pixels, which are not repeated."""
    within = places % (2 * SIDE - 2)
    return np.minimum(within, 2 * SIDE - 2 - within)


def fold_at_edge(places: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """Mirror at the outer edge, so that the outermost pixels are repeated."""
    within = places % (2 * SIDE)
    return np.minimum(within, 2 * SIDE - 1 - within)
