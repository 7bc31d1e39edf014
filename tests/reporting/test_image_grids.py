from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from made_up_reports import draw
from made_up_runs import Run

from debias_pipeline.reporting import draw_contact_sheet
from debias_pipeline.reporting.figures.image_grids import highest_weights
from debias_pipeline.reporting.pages.method_report import FIGURE_TEXTS
from debias_pipeline.reporting.pages.page import figure_blocks


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(224, 224), (40, 90), (150, 60)])
def test_photos_stay_small(disent: Run, shape: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (len(disent.manifest), *shape, 3))
    drawn = draw(replace(disent, images=noise.astype(np.uint8)))
    assert sum(map(len, drawn.values())) < 2_400_000


@pytest.mark.slow
def test_only_the_rows_shown_are_read(disent: Run) -> None:
    class Counting(np.ndarray):
        read = 0

        def __getitem__(self, key: object) -> object:
            Counting.read += 1
            assert isinstance(key, int)
            return np.asarray(super().__getitem__(key))

    draw(replace(disent, images=disent.images.view(Counting)))
    assert 0 < Counting.read <= 100


def test_the_highest_mean_weights_over_seeds_come_first() -> None:
    weights = pd.DataFrame(
        {
            "image_id": [5, 6, 7, 5, 6, 7],
            "seed": [0, 0, 0, 1, 1, 1],
            "weight": [0.9, 0.5, 0.2, 0.1, 0.7, 0.4],
            "conflicting": pd.array([None] * 6, dtype="boolean"),
        }
    )
    highest = highest_weights(weights)
    assert list(highest.index) == [6, 5, 7]
    assert highest.to_list() == pytest.approx([0.6, 0.5, 0.3])


@pytest.mark.slow
def test_images_are_looked_up_by_id(disent: Run, figures: dict[str, str]) -> None:
    shuffled = disent.manifest.sample(frac=1, random_state=0)
    order = shuffled.index.to_numpy()
    run = replace(disent, images=disent.images[order], manifest=shuffled)
    assert draw(run)["most_conflicting"] == figures["most_conflicting"]


@pytest.mark.slow
def test_two_labels_fill_the_width_of_ten(disent: Run) -> None:
    manifest = disent.manifest.assign(
        label=disent.manifest["label"] % 2, bias=disent.manifest["bias"] % 2
    )
    conflicting = pd.array(manifest["label"] != manifest["bias"], dtype="boolean")
    run = replace(disent, manifest=manifest.assign(conflicting=conflicting))
    assert draw(run)["sample_grid"].count("<image") > 40


def sheet(name: str = "fog") -> str:
    pixels = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    return draw_contact_sheet(pixels, rows=(name, "snow"), columns=("clean", "1", "2"))


def test_the_same_contact_sheet_gives_the_same_svg() -> None:
    assert sheet().startswith("<svg")
    assert sheet() == sheet()
    assert sheet() != sheet("frost")


def test_pages_of_data_sets_without_a_contact_sheet_do_not_mention_one() -> None:
    assert "contact_sheet" not in [block.name for block in figure_blocks(FIGURE_TEXTS, {}, {})]
    (block,) = [
        each
        for each in figure_blocks(FIGURE_TEXTS, {"contact_sheet": sheet()}, {})
        if each.name == "contact_sheet"
    ]
    assert block.source.startswith("data:image/svg+xml,")
