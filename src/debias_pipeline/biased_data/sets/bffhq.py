"""Biased FFHQ: faces, labelled by age and biased by gender."""

from typing import ClassVar

from debias_pipeline.biased_data.sources.published_only import PublishedOnly
from debias_pipeline.names import Headline


class BiasedFaces(PublishedOnly):
    """The published data set: mostly young women and old men, 128 × 128 pixels.

    Published tables report the accuracy on bias-conflicting test images only.
    """

    name: ClassVar[str] = "bffhq"
    headline: ClassVar[Headline] = "conflicting_accuracy"
    label_name: ClassVar[str] = "age"
    bias_name: ClassVar[str] = "gender"
    label_names: ClassVar[tuple[str, ...]] = ("young", "old")
    bias_names: ClassVar[tuple[str, ...]] = ("female", "male")
    page: ClassVar[str] = (
        "the page of Lee et al. 2021 (https://github.com/kakaoenterprise/"
        "Learning-Debiased-Disentangled, 0.5pct) or of Lee et al. 2023 (https://github.com/"
        "kakaoenterprise/BiasEnsemble, 0.5pct, 1pct, 2pct and 5pct)"
    )
    valid: ClassVar[str] = "valid"
