"""Apply ten corruptions of CIFAR-10-C to batches of images.

Definitions and constants are those of CIFAR-10-C (Hendrycks & Dietterich, "Benchmarking Neural
Network Robustness to Common Corruptions and Perturbations", ICLR 2019, arXiv 1903.12261), which
are tuned to images of 32 × 32. There are four differences:

- Frost adds a texture to the image. CIFAR-10-C crops it from five photographs of frosted glass,
  which cannot be redistributed; here five textures are computed (`frost_textures`).
- Snow and spatter use fractions where CIFAR-10-C rounds to whole levels between libraries, except
  where rounding is part of the definition (edges, equalised histogram).
- Elastic interpolates at exact positions, where OpenCV rounds to 1/32 pixel; the distances in
  spatter are exact, where OpenCV uses a 5 × 5 mask.
- Random numbers come from one NumPy generator per image, so the corruption of an image depends
  neither on the other images of the batch nor on the number of threads.

Compared with OpenCV, scikit-image and SciPy with the same random numbers (not part of the tests, so
that they need not be installed): snow, brightness and saturate differ by at most one level, also
spatter if the distances are exact, elastic by four.
"""

from debias_pipeline.biased_data.corruptions.applying import (
    SHEET_GAP,
    contact_sheet,
    corrupt,
    corrupt_each,
)
from debias_pipeline.biased_data.corruptions.kinds import (
    CORRUPTION_NAMES,
    CORRUPTIONS,
    SEVERITIES,
    Corruption,
)

__all__ = [
    "CORRUPTIONS",
    "CORRUPTION_NAMES",
    "SEVERITIES",
    "SHEET_GAP",
    "Corruption",
    "contact_sheet",
    "corrupt",
    "corrupt_each",
]
