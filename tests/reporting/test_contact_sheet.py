"""The picture of how a set's bias was made."""

import numpy as np

from debias_pipeline.reporting import draw_contact_sheet
from debias_pipeline.reporting.figure_blocks import figure_blocks
from debias_pipeline.reporting.method_report import _CONTACT_SHEET, _METHOD_FIGURES


def sheet(name="fog"):
    pixels = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    return draw_contact_sheet(pixels, rows=(name, "snow"), columns=("clean", "1", "2"))


def test_the_same_sheet_gives_the_same_svg():
    assert sheet().startswith("<svg")
    assert sheet() == sheet()
    assert sheet() != sheet("frost")


def test_pages_of_sets_without_a_sheet_do_not_speak_of_one():
    shown = figure_blocks(_METHOD_FIGURES, {})
    assert _CONTACT_SHEET.title not in [each["title"] for each in shown]
    shown = figure_blocks(_METHOD_FIGURES, {"contact_sheet": sheet()})
    assert _CONTACT_SHEET.title in [each["title"] for each in shown]
