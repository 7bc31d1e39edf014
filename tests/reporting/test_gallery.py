"""Galleries of single images."""

from dataclasses import replace

import numpy as np
from made_up_reports import method_report
from made_up_runs import Run

from debias_pipeline.reporting import misclassified
from debias_pipeline.reporting.figures.gallery import image_addresses


def test_misclassified_images_are_named_those_of_most_seeds_first(disent: Run) -> None:
    gallery = misclassified(disent.predictions, disent.images, disent.manifest, disent.data_card)
    assert gallery is not None
    rows = disent.manifest.set_index("source")
    for tile in gallery.tiles:
        place = rows.index.get_loc(tile.file) - rows.index.get_loc("digits/700.png")
        both = place % 5 == 0 and place % 6 == 0
        assert (tile.lines[-1] == "wrong for 2 of 2 seeds") == both
        assert place % 5 == 0 or place % 6 == 0
        label = int(rows["label"][tile.file])
        assert tile.lines[0] == f"{label}, predicted {(label + 1) % 10}"
        assert tile.label == str(label)
    of_zero = [tile.lines[-1] for tile in gallery.tiles if tile.label == "0"]
    assert of_zero == sorted(of_zero, reverse=True)
    wrong = len({*range(0, 200, 5), *range(0, 200, 6)})
    assert f"of {wrong} test images" in gallery.note
    of_seed = sum("4" in tile.by_seed for tile in gallery.tiles)
    assert f"{of_seed} of {len(range(0, 200, 6))} test images" in gallery.note_by_seed["4"]


def test_without_mistakes_there_is_no_gallery(disent: Run) -> None:
    labels = disent.manifest.set_index("image_id")["label"]
    right = disent.predictions.assign(
        prediction=labels.loc[disent.predictions["image_id"]].to_numpy()
    )
    arguments = (disent.images, disent.manifest, disent.data_card)
    assert misclassified(right, *arguments) is None
    assert "Misclassified images" not in method_report(replace(disent, predictions=right))


def test_many_large_images_are_shrunk_to_fit() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    few = image_addresses([noise] * 2)
    many = image_addresses([noise] * 60)
    assert len(many[0]) < len(few[0])
    assert sum(map(len, many)) < 1_300_000
