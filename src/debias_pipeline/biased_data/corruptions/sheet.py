"""Every corruption at every severity in one picture."""

from typing import Final

import numpy as np

from debias_pipeline.biased_data.corruptions.applying import corrupt
from debias_pipeline.biased_data.corruptions.kinds import CORRUPTION_NAMES, SEVERITIES
from debias_pipeline.biased_data.corruptions.planes import SIDE, Bytes

# Between the cells of a contact sheet, in pixels.
SHEET_GAP: Final = 2


def contact_sheet(images: Bytes, seed: int) -> Bytes:
    """Show every corruption at every severity.

    Args:
        images: uint8, N × 32 × 32 × 3, RGB: a few examples.
        seed: of the corruptions; a row's random layers are the same at every severity.

    Returns:
        uint8, H × W × 3, white between cells. Row r, beginning at pixel r × (32 + `SHEET_GAP`), is
        `CORRUPTIONS[r]`; a column is the clean image or severity 1 to 5, and these six are
        repeated to the right for each further image.
    """
    rows = []
    for index, name in enumerate(CORRUPTION_NAMES):
        # image by image: clean, then severity 1 to 5
        cells = np.stack(
            [images]
            + [
                corrupt(images, name, severity, np.random.default_rng((seed, index)))
                for severity in SEVERITIES
            ],
            axis=1,
        ).reshape(-1, SIDE, SIDE, 3)
        framed = np.pad(
            cells, ((0, 0), (0, SHEET_GAP), (0, SHEET_GAP), (0, 0)), constant_values=255
        )
        rows.append(np.concatenate(list(framed), axis=1))
    return np.concatenate(rows)[:-SHEET_GAP, :-SHEET_GAP]
