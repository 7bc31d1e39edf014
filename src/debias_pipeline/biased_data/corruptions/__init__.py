"""Ten corruptions of CIFAR-10-C, each of a whole batch of images at once.

Definitions and constants are those of CIFAR-10-C (Hendrycks & Dietterich, "Benchmarking Neural
Network Robustness to Common Corruptions and Perturbations", ICLR 2019, arXiv 1903.12261), which
are tuned to images of 32 × 32. Four things differ:

- Frost lays a texture over the image. CIFAR-10-C crops it from five photographs of frosted glass,
  which are not ours to ship; here five textures are computed instead (`frost_textures`).
- Snow and spatter keep fractions where CIFAR-10-C rounds to whole levels on the way through other
  libraries, except where rounding belongs to the definition (edges, equalised histogram).
- Elastic interpolates at exact places, where OpenCV rounds them to 1/32 pixel; the distances in
  spatter are exact, where OpenCV's are those of a 5 × 5 mask.
- Random numbers come from NumPy's Generator, one stream an image, so an image's corruption
  depends neither on its neighbours in the batch nor on the number of threads.

Held against OpenCV, scikit-image and SciPy image by image with the same random numbers (not part
of the tests, to spare their installation): snow, brightness and saturate differ by one level at
most, spatter too once OpenCV's distances are exact, elastic by four.
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
