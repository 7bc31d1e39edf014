import pytest
from made_up_reports import compare
from made_up_runs import Run


@pytest.mark.slow
def test_comparison_draws_all_methods(compared: dict[str, str]) -> None:
    names = {"compared_learning_curves", "compared_metrics", "compared_group_heat_maps"}
    assert set(compared) == names


def test_comparison_without_bias_labels(without_bias_labels: Run) -> None:
    names = {"compared_learning_curves", "compared_metrics"}
    assert set(compare(without_bias_labels)) == names
