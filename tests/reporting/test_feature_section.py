"""The section of a report about the features of both branches."""

import re
from collections import Counter
from dataclasses import replace
from importlib.resources import files
from urllib.parse import unquote

import numpy as np
import pandas as pd
import torch
from made_up_reports import method_report
from made_up_runs import Run, with_names

from debias_pipeline.reporting import feature_section
from debias_pipeline.reporting.figures.charts import chart_library
from debias_pipeline.reporting.pages.feature_section import FeatureSection


def make_section(run: Run) -> FeatureSection | None:
    """Each A is paired with the next test image; the nearest image has the label of A alone."""
    test = np.flatnonzero(run.manifest["split"] == "test")
    rng = np.random.default_rng(0)
    partners = np.roll(test, -1)
    tensors = {
        "mapped": torch.tensor(test),
        "places": torch.tensor(rng.random((len(test), 2, 2)), dtype=torch.float32),
        "partners": torch.tensor(partners),
        "nearest": torch.tensor(np.stack([test, partners], 1)),
    }
    return feature_section(
        {"tensors": tensors, "metadata": {"seed": 3, "searched": 600}},
        run.images,
        run.manifest,
        run.data_card,
    )


def section_of(run: Run) -> FeatureSection:
    section = make_section(run)
    assert section is not None
    return section


def test_the_sentence_counts_labels_and_bias_attributes_of_nearest_images(disent: Run) -> None:
    words = section_of(disent).nearest
    assert "has the label of A in 100.0 % and the bias attribute of B in 0.0 % of cases" in words


def test_pairs_differ_in_label_and_bias_attribute(disent: Run) -> None:
    swaps = section_of(disent).swaps
    assert len(swaps) == 4
    for _, (a, b, *nearest) in swaps:
        one, other = (
            each.caption.removeprefix(f"{kind}: ").split(", ")
            for kind, each in (("A", a), ("B", b))
        )
        assert one[0] != other[0] and one[1] != other[1]
        assert nearest[0].source == a.source


def test_without_bias_labels_only_labels_are_shown(without_bias_labels: Run) -> None:
    section = section_of(without_bias_labels)
    assert section.nearest.endswith("has the label of A in 100.0 % of cases.")
    assert section.figure is not None and section.figure.chart is not None
    assert [key for key, _ in section.figure.chart["choices"]] == ["label"]


def colours_of(section: FeatureSection) -> dict[str, int]:
    """The number of marks of each colour in the SVG, in the rows of all attributes together."""
    assert section.figure is not None
    svg = unquote(section.figure.source)
    return Counter(re.findall(r"<use [^>]*fill: (#\w{6})", svg))


def test_the_drawn_maps_have_the_colours_of_the_chart(disent: Run) -> None:
    section = section_of(disent)
    assert section.figure is not None and section.figure.chart is not None
    variables = section.figure.chart["spec"]["layer"][0]["encoding"]["color"]["scale"]["range"]
    page = files("debias_pipeline.reporting").joinpath("templates", "page.html.jinja").read_text()
    # The first ones are those of the light scheme.
    light = [re.search(rf"{name}: (#\w+)", page)[1] for name in variables]  # type: ignore[index]
    colours = colours_of(section)
    assert set(colours) <= set(light) and set(light[:10]) <= set(colours)
    unknown = disent.manifest.assign(
        bias=disent.manifest["bias"].where(disent.manifest.index % 2 == 1, -1)
    )
    drawn = colours_of(section_of(replace(disent, manifest=unknown)))
    # 100 images without a known bias, each in both maps; the rest is the legend.
    assert drawn[light[-1]] - colours[light[-1]] in range(200, 203)


def test_a_name_does_not_make_a_value_unknown(disent: Run) -> None:
    names = ["not known", *map(str, range(9))]
    named, section = section_of(with_names(disent, names, names)), section_of(disent)
    assert named.nearest == section.nearest
    assert colours_of(named) == colours_of(section)


def test_each_attribute_has_its_own_colours(disent: Run) -> None:
    # Names of the bias attribute that are partly those of labels.
    names = [str(value) for value in range(10)]
    section = section_of(with_names(disent, names, [*names[5:], *"abcde"]))
    assert section.figure is not None and section.figure.chart is not None
    table = section.figure.chart["tables"]["points"]
    points = pd.DataFrame(table["rows"], columns=table["columns"])
    for name in ("label", "bias"):
        assert points.groupby(name)[f"{name}_index"].nunique().eq(1).all()
        assert points[f"{name}_index"].nunique() == 10


def test_without_maps_no_library_of_charts_is_loaded(without_bias_labels: Run) -> None:
    manifest = without_bias_labels.manifest
    many = manifest.assign(label=np.arange(len(manifest)) % 12)
    section = section_of(replace(without_bias_labels, manifest=many))
    assert section.figure is None and section.swaps
    assert chart_library() not in method_report(without_bias_labels, features=section)


def test_the_section_is_absent_if_there_is_one_class(without_bias_labels: Run) -> None:
    one_class = without_bias_labels.manifest.assign(label=0)
    run = replace(without_bias_labels, manifest=one_class)
    assert make_section(run) is None


def test_names_of_data_do_not_become_code(disent: Run) -> None:
    names = [f"</script>'\"] + alert({value})" for value in range(10)]
    section = section_of(with_names(disent, names, names))
    html = method_report(disent, features=section)
    assert "</script>'" not in html


def test_the_section_is_absent_without_features(disent: Run) -> None:
    tensors = {
        name: torch.zeros(0, dtype=torch.int64)
        for name in ("mapped", "places", "partners", "nearest")
    }
    found = {"tensors": tensors, "metadata": {"seed": 3, "searched": 0}}
    assert feature_section(found, disent.images, disent.manifest, disent.data_card) is None
    assert 'id="features"' not in method_report(replace(disent))
