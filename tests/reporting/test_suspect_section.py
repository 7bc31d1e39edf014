"""The section of a report about suspicious images."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from made_up_reports import method_report
from made_up_runs import Run, with_names
from rich.console import Console

from debias_pipeline.evaluation import first_suspects
from debias_pipeline.reporting import (
    estimates_text,
    first_suspects_in_words,
    suspect_section,
    write_audit_report,
)
from debias_pipeline.reporting.pages.suspect_section import SuspectSection

NO_ESTIMATES: dict[str, Any] = {
    "labelled": 0,
    "drawn": 0,
    "represented": 0,
    "aligned_accuracy": None,
    "conflicting_accuracy": None,
    "worst_group_accuracy": None,
    "worst_group": None,
    "auroc": None,
}
ESTIMATES = {
    **NO_ESTIMATES,
    "labelled": 20,
    "drawn": 18,
    "represented": 1500,
    "aligned_accuracy": {"value": 0.9, "images": 12, "right": 10, "low": 0.6, "high": 0.97},
    "worst_group_accuracy": {"value": 0.0, "images": 1, "right": 0, "low": 0, "high": 0.79},
    "worst_group": "cow, sand",
    "auroc": {"value": 0.931, "images": 20, "right": None, "low": 0.71, "high": 0.99},
}


def section_of(
    run: Run, estimates: dict[str, Any] = NO_ESTIMATES, explained: int = 4
) -> SuspectSection:
    """A ranking in the order of the manifest; the bias branch predicts the bias."""
    names, rows = run.data_card["label_names"], run.manifest
    labels = [names[label] for label in rows["label"]]
    suspects = pd.DataFrame(
        {
            "rank": range(1, len(rows) + 1),
            "file": rows["source"],
            "split": rows["split"],
            "label": labels,
            "weight": np.linspace(1, 0, len(rows)),
            "prediction": labels,
            "bias_prediction": [names[bias] for bias in rows["bias"]],
        }
    )
    pixels = torch.from_numpy(run.images[:explained].copy())
    maps = torch.zeros(explained, 2, *pixels.shape[1:3])
    maps[:, 1, :3, :3] = 1
    saliency = {
        "tensors": {
            "images": pixels,
            "maps": maps,
            "predictions": torch.zeros(explained, 2, dtype=torch.int64),
        },
        "metadata": {"files": list(rows["source"][:explained]), "seed": 7},
    }
    first = first_suspects(suspects, rows)
    return suspect_section(suspects, run.images, rows, run.data_card, saliency, first, estimates)


def page_of(run: Run, section: SuspectSection) -> str:
    return write_audit_report("A shortcut.", ["Evidence."], section, run.data_card, {})


class TagsAndAttributes(HTMLParser):
    """The names of all tags and attributes of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names |= {tag, *(name for name, _ in attrs)}


def test_audit_and_method_reports_show_images_and_where_branches_look(disent: Run) -> None:
    section = section_of(disent)
    for page in (page_of(disent, section), method_report(disent, suspects=section)):
        assert 'alt="Where the bias branch looks in digits/0.png"' in page
        assert "seed 7" in page
        # Six images of each kind and of each of ten labels, three pictures of each explained image,
        # and the mean images.
        shown = page[page.index('<h2 id="suspects">') :]
        images = re.findall(r"<img src=\"data:image/(?:png|jpeg)", shown)
        assert len(images) == 120 + 3 * 4 + 2 * len(section.means)
        assert all(re.findall(r"<img [^>]*alt=\"([^\"]*)\"", page))


def test_reports_of_methods_that_do_not_rank_images_have_no_such_section(disent: Run) -> None:
    assert "Where the branches look" not in method_report(disent)


def test_brightness_is_where_the_branch_looks(disent: Run) -> None:
    (_, bias, debiased), *_ = section_of(disent).explained
    assert bias.source != debiased.source


def test_mean_images_are_shown_of_labels_with_enough_images_of_both_kinds(disent: Run) -> None:
    means = dict(section_of(disent).means)
    assert means and all("right" in a.caption and "wrong" in b.caption for a, b in means.values())
    aligned = disent.manifest.assign(bias=disent.manifest["label"])
    assert not section_of(replace(disent, manifest=aligned)).means


@pytest.mark.parametrize("shape", [(224, 224), (40, 300), (600, 150)])
def test_pages_with_photos_stay_small(disent: Run, shape: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (120, *shape, 3), dtype=np.uint8)
    # Few images are stored, as many rows read the same one.
    run = replace(disent, images=noise, manifest=disent.manifest.head(120))
    assert len(page_of(run, section_of(run, explained=12))) < 2_400_000


def test_names_are_escaped(disent: Run) -> None:
    # No template has this tag or this attribute.
    nasty = "</script><x-tag>'\" x-attribute="
    names = [f"{nasty}label {label}" for label in range(10)]
    run = with_names(disent, names, names)
    files = [f"{nasty}file {row}" for row in range(len(run.manifest))]
    run = replace(run, manifest=run.manifest.assign(source=files))
    section = section_of(run, {**ESTIMATES, "worst_group": f"{nasty}group"})
    for page in (page_of(run, section), method_report(run, suspects=section)):
        assert all(f"x-attribute={name}" in page for name in ("label 3", "file 0", "group"))
        parser = TagsAndAttributes()
        parser.feed(page)
        assert {"li", "img", "data-file", "alt"} <= parser.names
        assert not [name for name in parser.names if "x-" in name]


def test_estimates_say_how_many_labelled_images_they_rest_on(disent: Run) -> None:
    page = page_of(disent, section_of(disent, ESTIMATES))
    console = Console(width=120, record=True)
    console.print(estimates_text("disent", ESTIMATES))
    for shown in (page, console.export_text()):
        assert "20 images" in shown and "1,500" in shown and "2 images of these" in shown
        assert "10 of 12 right" in shown and "90.0 %" in shown and "60–97 %" in shown
        assert "cow, sand" in shown and "0.93" in shown and "0.71–0.99" in shown
    assert "to_label.csv lists" not in page
    assert "to_label.csv lists" in page_of(disent, section_of(disent))


def test_the_precision_of_the_first_suspects_is_shown_with_counts(
    disent: Run, without_bias_labels: Run
) -> None:
    conflicting = int(disent.manifest["conflicting"].head(20).sum())
    assert f"{conflicting} of the first 20 suspects" in section_of(disent).precision
    some = disent.manifest.copy()
    some.loc[5:, "conflicting"] = pd.NA
    partly = section_of(replace(disent, manifest=some)).precision
    assert "5 images with a bias label among the first 20 suspects" in partly
    assert first_suspects_in_words(None) == ""
    rows = without_bias_labels.manifest
    suspects = pd.DataFrame({"file": rows["source"], "split": rows["split"]})
    assert first_suspects(suspects, rows) is None


def test_images_of_two_splits_are_shown(disent: Run) -> None:
    rows = disent.manifest
    copies = rows[rows["split"] == "train"].assign(split="valid")
    twice = pd.concat([rows, copies], ignore_index=True)
    pixels = np.concatenate([disent.images, disent.images[copies.index]])
    section = section_of(replace(disent, manifest=twice, images=pixels))
    assert {tile.split for tile in section.gallery.tiles} >= {"train", "valid"}


def test_an_image_of_two_splits_is_one_suspect_in_each(disent: Run) -> None:
    rows = disent.manifest.head(20).copy()
    copies = rows.assign(split="valid" if rows["split"].iloc[0] == "train" else "train")
    suspects = pd.DataFrame({"file": rows["source"], "split": rows["split"]})
    found = first_suspects(suspects, pd.concat([rows, copies]))
    assert found is not None and found["known"] == 20
