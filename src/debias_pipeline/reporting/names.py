"""Names from data, made fit for a figure."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import matplotlib.font_manager
from matplotlib.ft2font import FT2Font


def attribute_name(data_card: Mapping[str, Any], attribute: str, value: int, most: int) -> str:
    """The name of a label or bias value for a figure.

    Args:
        data_card: holds `label_names` and `bias_names`, each by value.
        attribute: "label" or "bias".
        value: of the label or bias; −1 where unknown.
        most: characters; a longer name is cut.
    """
    if value < 0:
        return ""
    name = full_attribute_name(data_card, attribute, value)
    drawable = all(ord(character) in _glyphs() for character in name)
    return shortened(name, most) if drawable else f"{attribute} {value}"


def full_attribute_name(data_card: Mapping[str, Any], attribute: str, value: int) -> str:
    """The whole name of a label or bias value, or its number where it has no name."""
    names = data_card[f"{attribute}_names"]
    return str(names[value]) if 0 <= value < len(names) else str(value)


def shortened(text: str, most: int) -> str:
    """The text on one line, cut to at most so many characters."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


@cache
def _glyphs() -> frozenset[int]:
    # A name in another script would come out as a row of empty boxes.
    path = matplotlib.font_manager.findfont("DejaVu Sans")
    return frozenset(FT2Font(path).get_charmap())
