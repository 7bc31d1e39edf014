from dataclasses import replace

import pytest
from html_tables import Table
from made_up_reports import BEST_ON_TEST, comparison_report
from made_up_runs import Run, resting_on

from debias_pipeline.reporting import write_comparison_report


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


def test_rules_that_rest_on_few_images_are_named_with_the_method(vanilla: Run, disent: Run) -> None:
    page = comparison_report(resting_on(vanilla, "pseudo_groups", 7, 7), disent)
    assert "pseudo-groups: unreliable, it rests on 7 (vanilla) conflicting" in page


def test_finding_is_on_the_page(comparison_page: str) -> None:
    sentence = (
        "On bias-conflicting test images disent gets 56.5 %, vanilla 21.6 %: 34.9 points more."
    )
    assert sentence in comparison_page


def test_methods_of_different_numbers_of_seeds_are_said_to_be(one_seed: Run, disent: Run) -> None:
    alone = replace(one_seed, metrics={**one_seed.metrics, "method": "vanilla"})
    page = comparison_report(alone, disent)
    assert "over seeds, of which there are: vanilla 1, disent 2" in page
    assert "one seed, so no standard deviation" not in page


def test_comparison_of_nothing_is_refused(disent: Run) -> None:
    with pytest.raises(ValueError, match="at least one method"):
        write_comparison_report([], {}, [], disent.data_card)


def test_comparison_of_one_method_has_no_finding(disent: Run) -> None:
    assert 'class="finding"' not in comparison_report(disent)
