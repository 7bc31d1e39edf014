from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from made_up_reports import draw
from made_up_runs import Run, with_names

ALL_FIGURES = {
    "learning_curves",
    "loss_curves",
    "group_heat_map",
    "weight_histogram",
    "sample_grid",
    "most_conflicting",
}


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


def test_names_in_other_scripts_raise_no_warning(
    disent: Run, recwarn: pytest.WarningsRecorder
) -> None:
    draw(with_names(disent, ["数字"] * 10, ["色"] * 10))
    assert [str(warning.message) for warning in recwarn] == []
