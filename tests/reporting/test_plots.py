"""What every figure promises as SVG text."""

import re
from xml.etree import ElementTree

import matplotlib as mpl
import pytest
from made_up_reports import compare, draw
from made_up_runs import Run, with_names


@pytest.mark.slow
def test_same_inputs_give_the_same_figures(
    vanilla: Run, disent: Run, figures: dict[str, str], compared: dict[str, str]
) -> None:
    assert draw(disent) == figures
    assert compare(vanilla, disent) == compared


@pytest.mark.slow
def test_settings_of_the_user_change_nothing(disent: Run, figures: dict[str, str]) -> None:
    with mpl.rc_context({"font.size": 20, "axes.facecolor": "red", "svg.fonttype": "none"}):
        assert draw(disent) == figures


def test_each_figure_is_one_svg_element(figures: dict[str, str], compared: dict[str, str]) -> None:
    for svg in [*figures.values(), *compared.values()]:
        assert svg.startswith("<svg")
        assert ElementTree.fromstring(svg).tag.endswith("svg")


def test_nothing_outside_a_figure_is_named_but_its_namespaces(figures: dict[str, str]) -> None:
    for svg in figures.values():
        bare = re.sub(r'xmlns(:\w+)?="[^"]*"', "", svg)
        assert "http" not in bare
        assert "<metadata" not in bare
        assert "<!" not in bare


@pytest.mark.slow
def test_figures_on_one_page_share_no_ids(
    vanilla: Run, figures: dict[str, str], compared: dict[str, str]
) -> None:
    drawn = [*figures.values(), *draw(vanilla).values(), *compared.values()]
    ids = [name for svg in drawn for name in set(re.findall(r' id="([^"]+)"', svg))]
    assert ids
    assert len(ids) == len(set(ids))
    for svg in drawn:
        used = set(re.findall(r'(?:url\(|href=")#([^")]+)', svg))
        assert used <= set(re.findall(r' id="([^"]+)"', svg))


@pytest.mark.slow
def test_names_from_data_reach_no_markup(disent: Run) -> None:
    run = with_names(disent, ["<script>$x$ & co"] * 10, ["</svg> $\\frac$"] * 10)
    for svg in draw(run).values():
        assert "script" not in svg
        assert svg.count("</svg>") == 1
