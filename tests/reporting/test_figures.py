import re
from dataclasses import replace
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from made_up_runs import Run, with_names

from debias_pipeline.reporting import draw_comparison_figures, draw_figures
from debias_pipeline.reporting.image_grids import highest_weights

ALL_FIGURES = {
    "learning_curves",
    "loss_curves",
    "group_heat_map",
    "weight_histogram",
    "sample_grid",
    "most_conflicting",
}


def draw(run: Run) -> dict[str, str]:
    return draw_figures(
        run.metrics,
        run.history,
        run.sample_weights,
        run.group_accuracy,
        run.images,
        run.manifest,
        run.data_card,
    )


def compare(*runs: Run) -> dict[str, str]:
    return draw_comparison_figures(
        [run.metrics for run in runs],
        {run.metrics["method"]: run.history for run in runs},
        {run.metrics["method"]: run.group_accuracy for run in runs},
        runs[0].manifest,
        runs[0].data_card,
    )


@pytest.fixture(scope="module")
def figures(disent: Run) -> dict[str, str]:
    return draw(disent)


@pytest.fixture(scope="module")
def compared(vanilla: Run, disent: Run) -> dict[str, str]:
    return compare(vanilla, disent)


def test_everything_is_drawn_where_everything_is_known(figures: dict[str, str]) -> None:
    assert set(figures) == ALL_FIGURES


def test_without_weights_no_weight_is_drawn(vanilla: Run) -> None:
    assert set(draw(vanilla)) == ALL_FIGURES - {"weight_histogram", "most_conflicting"}


def test_without_bias_labels_no_group_is_drawn(without_bias_labels: Run) -> None:
    assert set(draw(without_bias_labels)) == ALL_FIGURES - {"group_heat_map"}


def test_one_seed_is_enough(one_seed: Run) -> None:
    assert set(draw(one_seed)) == ALL_FIGURES


def test_without_losses_no_losses_are_drawn(disent: Run) -> None:
    terms = [column for column in disent.history if column.startswith("loss")]
    assert "loss_curves" not in draw(
        replace(disent, history=disent.history.assign(**dict.fromkeys(terms, np.nan)))
    )


def test_weights_of_python_none_are_no_weights(vanilla: Run) -> None:
    nulls = pd.array([None] * len(vanilla.sample_weights), dtype="object")
    run = replace(vanilla, sample_weights=vanilla.sample_weights.assign(weight=nulls))
    assert "weight_histogram" not in draw(run)


def test_comparison_draws_all_methods(compared: dict[str, str]) -> None:
    names = {"compared_learning_curves", "compared_metrics", "compared_group_heat_maps"}
    assert set(compared) == names


def test_comparison_without_bias_labels(without_bias_labels: Run) -> None:
    names = {"compared_learning_curves", "compared_metrics"}
    assert set(compare(without_bias_labels)) == names


def test_same_inputs_give_the_same_bytes(
    vanilla: Run, disent: Run, figures: dict[str, str], compared: dict[str, str]
) -> None:
    assert draw(disent) == figures
    assert compare(vanilla, disent) == compared


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


def test_names_from_data_reach_no_markup(disent: Run) -> None:
    run = with_names(disent, ["<script>$x$ & co"] * 10, ["</svg> $\\frac$"] * 10)
    for svg in draw(run).values():
        assert "script" not in svg
        assert svg.count("</svg>") == 1


def test_names_in_other_scripts_raise_no_warning(
    disent: Run, recwarn: pytest.WarningsRecorder
) -> None:
    draw(with_names(disent, ["数字"] * 10, ["色"] * 10))
    assert [str(warning.message) for warning in recwarn] == []


def test_many_classes_are_drawn(disent: Run) -> None:
    classes = 40
    groups = pd.DataFrame(
        [
            ("last", 0, label, bias, 5, 3, 0.6)
            for label in range(classes)
            for bias in range(classes)
        ],
        columns=list(disent.group_accuracy),
    )
    names = [f"a rather long name, number {value}" for value in range(classes)]
    run = with_names(replace(disent, group_accuracy=groups), names, names)
    assert "group_heat_map" in draw(run)


@pytest.mark.parametrize("shape", [(224, 224), (40, 90), (150, 60)])
def test_photos_stay_small(disent: Run, shape: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (len(disent.manifest), *shape, 3))
    drawn = draw(replace(disent, images=noise.astype(np.uint8)))
    assert sum(map(len, drawn.values())) < 2_400_000


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
        }
    )
    highest = highest_weights(weights)
    assert list(highest.index) == [6, 5, 7]
    assert highest.to_list() == pytest.approx([0.6, 0.5, 0.3])


def test_images_are_looked_up_by_id(disent: Run, figures: dict[str, str]) -> None:
    shuffled = disent.manifest.sample(frac=1, random_state=0)
    order = shuffled.index.to_numpy()
    run = replace(disent, images=disent.images[order], manifest=shuffled)
    assert draw(run)["most_conflicting"] == figures["most_conflicting"]


def test_two_labels_fill_the_width_of_ten(disent: Run) -> None:
    manifest = disent.manifest.assign(
        label=disent.manifest["label"] % 2, bias=disent.manifest["bias"] % 2
    )
    conflicting = pd.array(manifest["label"] != manifest["bias"], dtype="boolean")
    run = replace(disent, manifest=manifest.assign(conflicting=conflicting))
    assert draw(run)["sample_grid"].count("<image") > 40
