"""Dogs & Cats: photographs of pets, biased by bright or dark fur."""

from typing import ClassVar

from debias_pipeline.biased_data.sources.published_only import PublishedOnly
from debias_pipeline.names import Headline


class DogsAndCats(PublishedOnly):
    """The data set published with BiasEnsemble, at 1pct and 5pct.

    The published files have numbers for the two classes and the two kinds of fur, not names.
    """

    name: ClassVar[str] = "dogs_and_cats"
    headline: ClassVar[Headline] = "accuracy"
    label_name: ClassVar[str] = "animal"
    bias_name: ClassVar[str] = "fur"
    label_names: ClassVar[tuple[str, ...]] = ("class 0", "class 1")
    bias_names: ClassVar[tuple[str, ...]] = ("fur 0", "fur 1")
    page: ClassVar[str] = (
        "the page of Lee et al. 2023 (https://github.com/kakaoenterprise/BiasEnsemble)"
    )
    valid: ClassVar[str] = "{percent}/valid"
    # The published code resizes all images to this size, whatever their own is.
    side: ClassVar[int | None] = 224
