import copy
import re
from dataclasses import replace

import pytest
from html_tables import Table
from made_up_published import IN_WORDS, OTHER_SOURCE, published, published_elsewhere
from made_up_reports import BEST_ON_TEST, compare, comparison_report, draw, method_report
from made_up_runs import Run, based_on, make_run, summary, with_few_images
from matplotlib.figure import Figure

from debias_pipeline.reporting import RecipeChange
from debias_pipeline.reporting.figures import method_figures


def test_headline_table_shows_mean_and_std(method_page: str) -> None:
    head, last, selected, _, best = Table(method_page, "headline").rows
    assert head[1].startswith("Unbiased accuracy accuracy on the test split")
    assert last[:2] == [
        "last the final training step: needs nothing, leaks nothing",
        "59.5 ± 0.7 %",
    ]
    assert last[3:] == [
        "58.5 ± 0.7 %",
        "97.5 ± 0.7 %",
        "56.5 ± 0.7 %",
        "18.5 ± 0.7 %",
        "57.5 ± 0.7 %",
        "4,000",
    ]
    assert selected[-1] == "3,000–3,200"
    assert best[0] == f"best on test {BEST_ON_TEST}"


def test_files_that_are_left_out_are_counted_by_reason(disent: Run) -> None:
    card = {**disent.data_card, "left_out": {"hidden": 1200, "<video>": 1}}
    html = method_report(replace(disent, data_card=card))
    assert "1,201 files: 1,200 hidden, 1 &lt;video&gt;" in html
    assert "Left out</dt>" not in method_report(disent)


def test_a_published_accuracy_is_only_in_the_row_of_the_comparable_rule(method_page: str) -> None:
    table = Table(method_page, "headline")
    head, last, selected, pseudo_groups, best = table.rows
    assert head[2] == "Published"
    assert (last[2], selected[2], pseudo_groups[2]) == ("–", "–", "–")
    assert best[2] == "84.79 % measured −23.3"
    assert table.titles[4, 2] == IN_WORDS


def test_a_published_accuracy_of_the_last_step_is_in_that_row(disent: Run) -> None:
    rows = Table(
        method_report(disent, published=[published_elsewhere(0.5, "last")]), "headline"
    ).rows
    assert rows[1][2].startswith("50.00 % measured")
    assert (rows[2][2], rows[4][2]) == ("–", "–")


def test_all_published_accuracies_are_listed_with_their_sources(method_page: str) -> None:
    (listed,) = re.findall(r'<ul id="published">(.*?)</ul>', method_page, re.S)
    items = re.findall(r"<li>(.*?)</li>", listed)
    assert items[0] == f"84.79 %: {IN_WORDS}"
    assert items[1].startswith(f"82.86 %: {OTHER_SOURCE}: how the checkpoint")


def test_a_published_accuracy_is_compared_with_the_same_metric_only(disent: Run) -> None:
    other = published_elsewhere(0.9, "validation") | {"average_accuracy": 0.935}
    html = method_report(
        disent, published=[other | {"metric": "worst_group_accuracy"}, other | {"accuracy": 0.5}]
    )
    rows = Table(html, "headline").rows
    assert rows[2][2].startswith("50.00 % measured")  # comparable with the rule `selected`
    assert "<li>worst group 90.00 %, average 93.50 %: " in html


def test_a_rule_based_on_few_images_is_marked_with_their_number(disent: Run) -> None:
    few = method_report(based_on(disent, "selected", 10, 12))
    assert Table(few, "headline").rows[2][-1] == "3,000–3,200?"
    assert "selected: unreliable, based on 10 to 12 conflicting validation images" in few
    assert "unreliable" not in method_report(based_on(disent, "selected", 30, 30))


def test_without_a_published_accuracy_there_is_no_such_column(disent: Run) -> None:
    assert "Published" not in " ".join(Table(method_report(disent), "headline").rows[0])


def test_one_seed_shows_no_std(one_seed: Run) -> None:
    html = method_report(one_seed)
    assert Table(html, "headline").rows[1][1] == "60.0 %"
    assert "one seed, so no standard deviation" in html


def test_null_shows_as_a_dash_and_says_why(without_bias_labels: Run) -> None:
    html = method_report(without_bias_labels)
    table = Table(html, "headline")
    assert table.rows[1][2:6] == ["–"] * 4
    assert "no test image has a bias label" in table.titles[1, 4]
    assert "no validation image has a bias label" in table.titles[2, 1]
    shown = html.split("<h2>Reproduce")[0].split("<body>")[1]
    assert not re.search(r"\b(nan|None)\b", shown)


def test_sections_without_content_are_absent(vanilla: Run, without_bias_labels: Run) -> None:
    html = method_report(vanilla)
    for section in ("AUROC", "Weights of the training images", "bias branch"):
        assert section not in html
    html = method_report(without_bias_labels)
    for section in ("<h2>Groups", "Accuracy by group"):
        assert section not in html
    assert "The test images have no bias labels, so it is not known" in html
    assert "Left out" not in html


def test_the_first_sentence_has_both_sides_of_the_trade(
    method_page: str, without_bias_labels: Run
) -> None:
    assert (
        "disent gets 56.5 % of the test images right that go against the bias and 97.5 % of those "
        "that go with it: −41.0 points."
    ) in method_page
    assert "not known without bias labels" in method_report(without_bias_labels)


def test_a_biased_test_split_is_called_so(disent: Run, method_page: str) -> None:
    run = make_run(biased_test=True)
    card = copy.deepcopy(run.data_card)
    card["splits"]["test"]["conflicting_fraction"] = 0.018
    html = method_report(replace(run, data_card=card))
    assert "Only 1.8 % of the test images are bias-conflicting" in html
    assert 'class="warning"' not in method_page


@pytest.mark.slow
@pytest.mark.parametrize("case", [{"biased_test": True}, {"bias_labels": False}], ids=str)
def test_no_part_of_a_report_says_unbiased_without_a_reason(case: dict[str, bool]) -> None:
    runs = [make_run(method, **case) for method in ("vanilla", "disent")]
    figures = draw(runs[1])
    pages = [method_report(runs[1], figures), comparison_report(*runs)]
    for text in (*pages, *figures.values(), *compare(*runs).values()):
        assert "nbiased" not in text
    for page in pages:
        assert Table(page, "headline").rows[0][1].startswith("Test accuracy")
        assert 'class="warning"' in page


def test_a_data_set_that_was_never_checked_says_how_to_check_it(disent: Run) -> None:
    card = {key: value for key, value in disent.data_card.items() if key != "test_split"}
    metrics = {**disent.metrics, "unbiased_test": None}
    html = method_report(replace(disent, data_card=card, metrics=metrics))
    assert "kedro run --pipeline=ingestion" in html
    assert "nbiased" not in html


def test_headline_of_the_data_set_comes_first() -> None:
    of_paper = published(0.6387) | {"metric": "conflicting_accuracy"}
    html = method_report(make_run(headline="conflicting_accuracy"), published=[of_paper])
    head, _, _, _, best = Table(html, "headline").rows
    assert head[1] == "Conflicting"
    assert best[1:3] == ["58.5 ± 0.7 %", "63.87 % measured −5.4"]
    assert head[3].startswith("Unbiased accuracy")


def test_worst_group_is_first_and_empty_groups_last(method_page: str, disent: Run) -> None:
    rows = Table(method_page, "groups").rows[1:]
    assert len(rows) == 100
    last = disent.group_accuracy.query("checkpoint == 'last'").astype({"accuracy": "float64"})
    worst = last.groupby(["label", "bias"])["accuracy"].mean().min()
    assert rows[0][-2].startswith(f"{100 * worst:.1f}")
    assert rows[-1] == ["3", "plum", "conflicting", "1", "0", "–", ""]
    assert {row[2] for row in rows} >= {"aligned", "conflicting"}


def test_page_has_command_and_recipe(method_page: str) -> None:
    assert "kedro run --pipeline=disent --params &#39;raw_dir=my photos&#39;" in method_page
    assert ["swap_start", "1000"] in Table(method_page, "recipe").rows
    assert "0.971 ± 0.003" in method_page


def test_the_bias_branch_is_compared_with_the_accuracy_of_the_bias_alone(
    method_page: str, disent: Run, vanilla: Run, without_bias_labels: Run
) -> None:
    aligned = 1 - disent.data_card["splits"]["test"]["conflicting_fraction"]
    assert (
        "At the last step the bias branch gets 11.8 ± 0.7 % of the test images right; a classifier "
        f"that uses only the bias gets {100 * aligned:.1f} % right, the bias-aligned ones."
    ) in method_page
    assert "the bias branch gets 11.8 ± 0.7 % of the test images right.<" in method_report(
        without_bias_labels
    )
    assert "bias branch" not in method_report(vanilla)


def test_metrics_of_earlier_versions_without_a_bias_branch_are_shown(disent: Run) -> None:
    metrics = copy.deepcopy(disent.metrics)
    for figures in metrics["checkpoints"].values():
        del figures["bias_branch_accuracy"]
    assert "bias branch" not in method_report(replace(disent, metrics=metrics))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("conflicting", "why"),
    [
        (None, "no validation image has a bias label"),
        (0, "no bias-conflicting image"),
        (100, "no bias-aligned image"),
    ],
)
def test_a_missing_selection_says_why(disent: Run, conflicting: int | None, why: str) -> None:
    card = copy.deepcopy(disent.data_card)
    fraction = None if conflicting is None else conflicting / 100
    card["splits"]["valid"] |= {"conflicting": conflicting, "conflicting_fraction": fraction}
    checkpoints = {**disent.metrics["checkpoints"], "selected": None}
    run = replace(disent, data_card=card, metrics={**disent.metrics, "checkpoints": checkpoints})
    for page, row in ((method_report(run), 2), (comparison_report(run), 4)):
        assert why in Table(page, "headline").titles[row, 1]


def test_a_bias_that_was_not_labelled_is_not_asserted(
    method_page: str, without_bias_labels: Run
) -> None:
    assert "<b>colour</b> is correlated" in method_page
    assert "<b>colour</b> may be correlated" in method_report(without_bias_labels)


def test_a_value_that_rests_on_few_images_has_their_number_and_an_interval(one_seed: Run) -> None:
    few = with_few_images(make_run(seeds=(0,), conflicting_accuracy=1.0), "conflicting_accuracy", 2)
    cell = Table(method_report(few), "headline").rows[1][4]
    assert cell == "100.0 % 2 of 2; 34–100 %"
    assert " (2 images)" in "".join(legends(few))
    enough = with_few_images(one_seed, "conflicting_accuracy", 200)
    assert Table(method_report(enough), "headline").rows[1][4] == "57.0 %"


def test_the_bias_branch_has_the_number_of_few_images(one_seed: Run) -> None:
    card = copy.deepcopy(one_seed.data_card)
    card["splits"]["test"]["images"] = 10
    html = method_report(replace(one_seed, data_card=card))
    assert "the bias branch gets 12.3 % (1 of 10; 3–43 %) of" in html


def test_every_group_has_an_interval(method_page: str) -> None:
    *_, images, accuracy, interval = Table(method_page, "groups").rows[1]
    low, high = map(int, interval.removesuffix(" %").split("–"))
    assert low < float(accuracy.split()[0]) < high
    assert int(images) < 200


def test_the_auroc_of_few_conflicting_images_has_an_interval(method_page: str) -> None:
    assert re.search(r"AUROC: 0\.971.*</b> \(\d+ conflicting images; 0\.9\d–0\.9\d\)", method_page)


@pytest.mark.slow
def test_another_recipe_than_the_published_one_is_listed_and_not_compared(disent: Run) -> None:
    changed = [RecipeChange("steps", 50000, 40)]
    html = method_report(disent, published=[published(0.8479)], recipe_changes=changed)
    assert "published recipe, but steps 40 instead of 50000" in html
    assert Table(html, "headline").rows[4][2] == "84.79 %"
    page = comparison_report(
        disent, published={"disent": [published(0.8479)]}, changes_of={"disent": changed}
    )
    assert "steps 40 instead of 50000" in page
    for text in (html, page):
        assert "measured" not in text
    assert "default recipe" in method_report(disent, recipe_changes=changed)


def test_labels_that_share_the_aligned_bias_are_named(disent: Run, method_page: str) -> None:
    card = {**disent.data_card, "aligned_bias": [1, 1, 2, 3, 4, 5, 6, 7, 8, 9]}
    html = method_report(replace(disent, data_card=card))
    assert "yellow is the aligned colour of several labels (0, 1)" in html
    assert "by definition only" in html
    assert "a classifier that uses only the bias" not in html
    assert "by definition only" not in method_page


@pytest.mark.slow
def test_the_name_of_the_data_is_the_title(disent: Run) -> None:
    title = "my <photos>"
    run = replace(
        disent,
        data_card={**disent.data_card, "title": title},
        metrics={**disent.metrics, "title": title},
    )
    for page in (method_report(run), comparison_report(run)):
        assert "disent on my &lt;photos&gt;</h1>" in page
        assert "2pct" not in page


def test_a_bias_that_is_not_correlated_in_training_is_not_asserted(disent: Run) -> None:
    card = copy.deepcopy(disent.data_card)
    card["splits"]["train"] |= {"conflicting": 540, "conflicting_fraction": 0.9}
    assert "<b>colour</b> may be correlated" in method_report(replace(disent, data_card=card))


def legends(run: Run) -> list[str]:
    """The texts of all legends; the files have only their outlines."""
    found: list[str] = []

    def note(figure: Figure, name: str) -> str:
        for legend in figure.legends:
            found.extend(text.get_text() for text in legend.get_texts())
        return ""

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(method_figures, "to_svg", note)
        draw(run)
    return found


def test_a_test_split_without_conflicting_images_does_not_lack_bias_labels(disent: Run) -> None:
    test = {**disent.data_card["splits"]["test"], "conflicting": 0, "conflicting_fraction": 0.0}
    card = {**disent.data_card, "splits": {**disent.data_card["splits"], "test": test}}
    last = {**disent.metrics["checkpoints"]["last"], "conflicting_accuracy": summary(None, None)}
    metrics = {**disent.metrics, "checkpoints": {**disent.metrics["checkpoints"], "last": last}}
    (finding,) = re.findall(
        '<p class="finding">(.*?)</p>',
        method_report(replace(disent, metrics=metrics, data_card=card)),
    )
    assert "no bias-conflicting image in the test split" in finding
    assert "without bias labels" not in finding


@pytest.mark.parametrize("bias_labels", [True, False])
def test_bias_labels_of_the_validation_split_are_named_only_if_they_select_a_step(
    bias_labels: bool,
) -> None:
    run = make_run(bias_labels=bias_labels)
    page = method_report(replace(run, metrics={**run.metrics, "bias_labels": "none"}))
    assert "Bias labels used: <b>none</b>" in page
    assert ("uses those of the validation split" in page) is bias_labels
