from dataclasses import replace
from typing import Any

import pytest
from html_tables import Table
from made_up_reports import BEST_ON_TEST, comparison_report
from made_up_runs import Run, based_on, make_run, with_few_images

from debias_pipeline.reporting import MethodResult, write_comparison_report
from debias_pipeline.reporting.pages.comparison_report import Finding, findings


@pytest.mark.slow
def test_comparison_shows_differences_to_the_first(comparison_page: str) -> None:
    rows = Table(comparison_page, "headline").rows
    assert [row[0] for row in rows[2:4]] == ["vanilla", "disent"]
    assert rows[2][1] == "24.6 ± 0.7 %"
    assert rows[3][1] == "59.5 ± 0.7 % +34.9"
    assert rows[3][4] == "97.5 ± 0.7 % ±0.0"
    assert rows[10 + 2][2] == "84.79 % measured −23.3"
    assert rows[2][-1] == "–"


def test_best_on_test_is_labelled_in_the_comparison(comparison_page: str) -> None:
    assert any(BEST_ON_TEST in row[0] for row in Table(comparison_page, "headline").rows)


@pytest.mark.slow
def test_rules_based_on_few_images_are_named_with_the_method(vanilla: Run, disent: Run) -> None:
    page = comparison_report(based_on(vanilla, "pseudo_groups", 7, 7), disent)
    assert "pseudo-groups: unreliable, based on 7 (vanilla) pseudo-conflicting" in page


def test_finding_is_on_the_page(comparison_page: str) -> None:
    sentence = (
        "disent against vanilla: +34.9 points on images against the bias (56.5 instead of 21.6 %), "
        "±0.0 points on those with it (97.5 instead of 97.5 %; within the spread over seeds, "
        "± 1.0 points)."
    )
    assert sentence in comparison_page
    assert "Unbiased accuracy at the last step: " in comparison_page


@pytest.mark.slow
def test_different_numbers_of_seeds_are_shown_by_method(one_seed: Run, disent: Run) -> None:
    alone = replace(one_seed, metrics={**one_seed.metrics, "method": "vanilla"})
    page = comparison_report(alone, disent)
    assert "vanilla 1, disent 2" in page
    assert "one seed, so no standard deviation" not in page


def test_comparison_of_no_methods_raises(disent: Run) -> None:
    with pytest.raises(ValueError, match="at least one method"):
        write_comparison_report([], {}, {}, disent.data_card)


@pytest.mark.slow
def test_comparison_of_one_method_has_no_finding(disent: Run) -> None:
    assert 'class="finding"' not in comparison_report(disent)


def finding(base: tuple[float | None, float | None], other: tuple[float | None, Any]) -> Finding:
    def result(method: str, mean: float | None, std: float | None) -> MethodResult:
        summary = {"mean": mean, "std": std, "per_seed": [mean] if std is None else [mean, mean]}
        checkpoints = {"last": {"accuracy": summary, "conflicting_accuracy": summary}}
        return MethodResult({"method": method, "checkpoints": checkpoints})

    (found,) = findings([result("vanilla", *base), result("disent", *other)])
    return found


def test_finding_compares_the_difference_with_the_spread() -> None:
    clear = finding((0.5, 0.01), (0.4, 0.01)).sentence
    assert clear.endswith("−10.0 points on images against the bias (40.0 instead of 50.0 %).")
    near = finding((0.5, 0.02), (0.51, 0.02)).sentence
    assert "within the spread over seeds, ± 2.8 points" in near
    assert "One seed" in finding((0.5, None), (0.51, None)).note
    assert "cannot be compared" in finding((None, None), (0.5, 0.1)).sentence


def test_finding_without_bias_labels_is_about_all_test_images() -> None:
    runs = [make_run(method, bias_labels=False) for method in ("vanilla", "disent")]
    (found,) = findings([MethodResult(run.metrics) for run in runs])
    assert "points on the test split" in found.sentence


def test_finding_names_the_method_with_one_seed() -> None:
    note = finding((0.5, None), (0.6, 0.02)).note
    assert "One seed of vanilla:" in note


def test_finding_has_the_number_of_few_images_and_an_interval() -> None:
    runs = [
        with_few_images(make_run(method, seeds=(0,)), "conflicting_accuracy", 7)
        for method in ("vanilla", "disent")
    ]
    (found,) = findings([MethodResult(run.metrics) for run in runs])
    assert found.note.count("4 of 7; 34–100 %") == 2


def test_finding_about_all_test_images_names_its_metric_once() -> None:
    runs = [
        with_few_images(make_run(method, bias_labels=False), "accuracy", 7)
        for method in ("vanilla", "disent")
    ]
    (found,) = findings([MethodResult(run.metrics) for run in runs])
    assert "Test accuracy of disent: 7 images" in found.note
