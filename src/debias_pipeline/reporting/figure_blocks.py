"""Figures as a page shows them: heading, picture and caption, or why there is none."""

from collections.abc import Mapping
from dataclasses import dataclass

from debias_pipeline.reporting.pages import data_address

NO_BIAS_LABELS = "Left out: the test images carry no bias labels, so there are no groups."


@dataclass(frozen=True)
class FigureText:
    """What a page says about a figure.

    Attributes:
        title: its heading.
        caption: how to read it.
        alt: what it shows, for those who can't see it.
        without: why it may be left out, one sentence.
    """

    title: str
    caption: str
    alt: str
    without: str


def figure_blocks(
    texts: Mapping[str, FigureText], figures: Mapping[str, str]
) -> list[dict[str, str]]:
    """What the template needs of each figure.

    Args:
        texts: what is said of each figure, by name, in the order of the page.
        figures: SVG text or `data:` addresses by name; those with a `without` may be missing.

    Returns:
        A block for each figure; its `source` is "" where there is no picture.
    """
    return [
        {
            "name": name,
            "title": text.title,
            "caption": text.caption,
            "alt": text.alt,
            "without": text.without,
            "source": data_address(figures[name]) if name in figures else "",
        }
        for name, text in texts.items()
        if name in figures or text.without
    ]
