from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from made_up_reports import draw
from made_up_runs import Run, make_run, with_names
from matplotlib.figure import Figure
from matplotlib.text import Text

from debias_pipeline.reporting.figures import method_figures

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


@pytest.mark.slow
def test_without_weights_no_weight_is_drawn(vanilla: Run) -> None:
    assert set(draw(vanilla)) == ALL_FIGURES - {"weight_histogram", "most_conflicting"}


@pytest.mark.slow
def test_without_bias_labels_no_group_is_drawn(without_bias_labels: Run) -> None:
    assert set(draw(without_bias_labels)) == ALL_FIGURES - {"group_heat_map"}


@pytest.mark.slow
def test_one_seed_is_enough(one_seed: Run) -> None:
    assert set(draw(one_seed)) == ALL_FIGURES


@pytest.mark.slow
def test_without_losses_no_losses_are_drawn(disent: Run) -> None:
    terms = [column for column in disent.history if column.startswith("loss")]
    assert "loss_curves" not in draw(
        replace(disent, history=disent.history.assign(**dict.fromkeys(terms, np.nan)))
    )


@pytest.mark.slow
def test_weights_of_python_none_are_no_weights(vanilla: Run) -> None:
    nulls = pd.array([None] * len(vanilla.sample_weights), dtype="object")
    run = replace(vanilla, sample_weights=vanilla.sample_weights.assign(weight=nulls))
    assert "weight_histogram" not in draw(run)


@pytest.mark.slow
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


@pytest.mark.slow
def test_names_in_other_scripts_raise_no_warning(
    disent: Run, recwarn: pytest.WarningsRecorder
) -> None:
    draw(with_names(disent, ["数字"] * 10, ["色"] * 10))
    assert [str(warning.message) for warning in recwarn] == []


def drawn(run: Run, monkeypatch: pytest.MonkeyPatch) -> dict[str, Figure]:
    """Return the figures themselves: SVG has only the outlines of texts."""
    figures: dict[str, Figure] = {}

    def keep(figure: Figure, name: str) -> str:
        figures[name.removeprefix(f"{run.metrics['method']}-")] = figure
        return ""

    monkeypatch.setattr(method_figures, "to_svg", keep)
    draw(run)
    return figures


def texts(figure: Figure) -> str:
    return "\n".join(each.get_text() for each in figure.findobj(Text))


@pytest.mark.slow
def test_loss_terms_and_weights_have_the_names_that_the_method_gives(
    disent: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = drawn(disent, monkeypatch)
    assert {"total", "swap, intrinsic"} <= set(texts(figures["loss_curves"]).splitlines())
    for name in ("weight_histogram", "most_conflicting"):
        assert "weight W" in texts(figures[name])


def test_weights_of_any_range_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run("jtt")
    weights = run.sample_weights.assign(weight=1 + 20 * run.sample_weights["weight"].round())
    figures = drawn(replace(run, sample_weights=weights), monkeypatch)
    assert figures["weight_histogram"].axes[0].get_xlim() == (0, 21)
    for name in ("weight_histogram", "most_conflicting"):
        assert "times drawn per pass" in texts(figures[name])


def test_a_method_that_is_not_installed_is_drawn_with_neutral_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    figures = drawn(make_run("unknown"), monkeypatch)
    assert "swap intrinsic" in texts(figures["loss_curves"]).splitlines()
    assert "weight of a training image" in texts(figures["weight_histogram"])
