"""The section of a report about the features of both branches."""

from dataclasses import replace

import numpy as np
import torch
from made_up_reports import method_report
from made_up_runs import Run, with_names

from debias_pipeline.reporting import feature_section
from debias_pipeline.reporting.feature_section import FeatureSection


def section_of(run: Run) -> FeatureSection:
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
    section = feature_section(
        {"tensors": tensors, "metadata": {"seed": 3, "searched": 600}},
        run.images,
        run.manifest,
        run.data_card,
    )
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
