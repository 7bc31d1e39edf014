import copy
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from made_up_runs import Run, make_run, with_names

from debias_pipeline.reporting import (
    draw_comparison_figures,
    draw_figures,
    write_comparison_report,
    write_method_report,
)
from debias_pipeline.reporting.report import findings

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
BEST_ON_TEST = (
    "chosen on the test set, as published code does: for comparison with published tables only"
)


def drawn(run: Run) -> dict[str, str]:
    return draw_figures(
        run.metrics,
        run.history,
        run.sample_weights,
        run.group_accuracy,
        run.images,
        run.manifest,
        run.data_card,
    )


def method_report(
    run: Run, figures: dict[str, str] | None = None, published: float | None = None
) -> str:
    figures = figures or {}
    return write_method_report(
        run.metrics,
        figures,
        run.history,
        run.group_accuracy,
        run.manifest,
        run.data_card,
        run.recipe,
        published,
    )


def comparison_report(*runs: Run, published: dict[str, float | None] | None = None) -> str:
    metrics = [run.metrics for run in runs]
    histories = {run.metrics["method"]: run.history for run in runs}
    figures = draw_comparison_figures(
        metrics,
        histories,
        {run.metrics["method"]: run.group_accuracy for run in runs},
        runs[0].manifest,
        runs[0].data_card,
    )
    return write_comparison_report(metrics, figures, histories, runs[0].data_card, published)


class Table(HTMLParser):
    """The texts of one table's cells, row by row."""

    def __init__(self, html: str, name: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.titles: dict[tuple[int, int], str] = {}
        start = html.index(f'id="{name}"')
        self.feed(html[html.rindex("<table", 0, start) : html.index("</table>", start)])

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self.titles[len(self.rows) - 1, len(self.rows[-1]) - 1] = dict(attrs).get("title") or ""

    def handle_data(self, data: str) -> None:
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] = " ".join([self.rows[-1][-1], data.strip()]).strip()


@pytest.fixture(scope="module")
def page(disent: Run) -> str:
    return method_report(disent, drawn(disent), 0.8479)


@pytest.fixture(scope="module")
def comparison(vanilla: Run, disent: Run) -> str:
    return comparison_report(vanilla, disent, published={"vanilla": 0.6586, "disent": 0.8479})


def test_headline_table_shows_mean_and_std(page: str) -> None:
    head, last, selected, best = Table(page, "headline").rows
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
        "4,000",
    ]
    assert selected[-1] == "3,000–3,200"
    assert best[0] == f"best on test {BEST_ON_TEST}"


def test_published_figure_stands_beside_best_on_test_only(page: str) -> None:
    table = Table(page, "headline")
    head, last, selected, best = table.rows
    assert head[2] == "Published"
    assert (last[2], selected[2]) == ("–", "–")
    assert best[2] == "84.79 % measured −23.3"
    assert "paper's Table 1: mean of 3 runs" in table.titles[3, 2]


def test_without_a_published_figure_there_is_no_such_column(disent: Run) -> None:
    assert "Published" not in " ".join(Table(method_report(disent), "headline").rows[0])


def test_one_seed_shows_no_std(one_seed: Run) -> None:
    html = method_report(one_seed)
    assert Table(html, "headline").rows[1][1] == "60.0 %"
    assert "one seed, so no standard deviation" in html


def test_null_shows_as_a_dash_and_says_why(without_bias_labels: Run) -> None:
    html = method_report(without_bias_labels)
    table = Table(html, "headline")
    assert table.rows[1][2:6] == ["–"] * 4
    assert "needs bias labels on the test split" in table.titles[1, 4]
    assert "validation split" in table.titles[2, 1]
    assert "nan" not in html.split("<h2>Figures")[0].lower()
    assert "None" not in html.split("<h2>Figures")[0]


def test_what_is_left_out_is_explained(vanilla: Run, without_bias_labels: Run) -> None:
    html = method_report(vanilla, drawn(vanilla))
    assert html.count("this method gives no weights to training images") == 2
    assert html.count("Left out") == 2
    html = method_report(without_bias_labels, drawn(without_bias_labels))
    assert "the test images carry no bias labels, so there are no groups" in html
    assert "can&#39;t be checked here" in html


def test_a_biased_test_split_is_called_so(disent: Run, page: str) -> None:
    card = copy.deepcopy(disent.data_card)
    card["splits"]["test"]["conflicting_fraction"] = 0.018
    html = method_report(replace(disent, data_card=card))
    assert "Only 1.8 % of the test images are bias-conflicting" in html
    assert 'class="warning"' not in page


def test_headline_of_the_data_set_comes_first() -> None:
    html = method_report(make_run(headline="conflicting_accuracy"), published=0.6387)
    head, _, _, best = Table(html, "headline").rows
    assert head[1] == "Conflicting"
    assert best[1:3] == ["58.5 ± 0.7 %", "63.87 % measured −5.4"]
    assert head[3].startswith("Unbiased accuracy")


def test_worst_group_is_first_and_empty_groups_last(page: str, disent: Run) -> None:
    rows = Table(page, "groups").rows[1:]
    assert len(rows) == 100
    last = disent.group_accuracy.query("checkpoint == 'last'").astype({"accuracy": "float64"})
    worst = last.groupby(["label", "bias"])["accuracy"].mean().min()
    assert rows[0][-1].startswith(f"{100 * worst:.1f}")
    assert rows[-1] == ["3", "plum", "conflicting", "0", "–"]
    assert {row[2] for row in rows} >= {"aligned", "conflicting"}


def test_command_and_recipe_are_there(page: str) -> None:
    command = "kedro run --pipeline=disent --params dataset=cmnist_mini,percent=2pct,seed=3,seeds=2"
    assert command in page
    assert ["swap_start", "1000"] in Table(page, "recipe").rows
    assert "0.971 ± 0.003" in page


def test_the_bias_branch_is_shown_beside_what_the_bias_alone_would_get(
    page: str, disent: Run, vanilla: Run, without_bias_labels: Run
) -> None:
    aligned = 1 - disent.data_card["splits"]["test"]["conflicting_fraction"]
    assert (
        "At the last step the bias branch gets 11.8 ± 0.7 % of the test images right; a classifier "
        f"that goes by the bias and nothing else gets {100 * aligned:.1f} %, the bias-aligned ones."
    ) in page
    assert "the bias branch gets 11.8 ± 0.7 % of the test images right.<" in method_report(
        without_bias_labels
    )
    assert "bias branch" not in method_report(vanilla)


def test_metrics_of_before_bias_branches_were_judged_are_still_shown(disent: Run) -> None:
    metrics = copy.deepcopy(disent.metrics)
    for figures in metrics["checkpoints"].values():
        del figures["bias_branch_accuracy"]
    assert "bias branch" not in method_report(replace(disent, metrics=metrics))


def test_text_from_data_is_escaped(disent: Run) -> None:
    evil = "<script>alert(1)</script> & <b>"
    run = with_names(
        disent,
        [evil] * 10,
        [evil] * 10,
        label_name=evil,
        bias_name=evil,
        origin=evil,
        dataset=evil,
    )
    metrics = {**run.metrics, "dataset": evil, "method": evil}
    run = replace(run, metrics=metrics, recipe={evil: evil})
    for html in (method_report(run, drawn(run)), comparison_report(run)):
        assert "<script" not in html.lower()
        assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; &lt;b&gt;" in html


@pytest.mark.parametrize("which", ["page", "comparison"])
def test_page_loads_nothing(which: str, request: pytest.FixtureRequest) -> None:
    html = request.getfixturevalue(which)
    assert "http:" not in html
    assert "https:" not in html
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in html
    assert all(source.startswith("data:") for source in re.findall(r'src="([^"]*)', html))
    assert not re.search(r"<(script|link|iframe|object)|@import|url\((?!%23)", html)


@pytest.mark.parametrize("which", ["page", "comparison"])
def test_page_is_accessible_and_small(which: str, request: pytest.FixtureRequest) -> None:
    html = request.getfixturevalue(which)
    assert '<html lang="en">' in html
    assert "<title></title>" not in html
    assert len(re.findall(r"<img ", html)) == len(re.findall(r'<img [^>]*alt="[^"]+"', html))
    assert len(html.encode()) < 3_000_000
    ids = re.findall(r' id="([^"]+)"', html)
    assert len(ids) == len(set(ids))


def test_same_inputs_give_the_same_bytes(page: str, disent: Run) -> None:
    assert method_report(disent, drawn(disent), 0.8479) == page


def test_comparison_shows_differences_to_the_first(comparison: str) -> None:
    rows = Table(comparison, "headline").rows
    assert [row[0] for row in rows[2:4]] == ["vanilla", "disent"]
    assert rows[2][1] == "24.6 ± 0.7 %"
    assert rows[3][1] == "59.5 ± 0.7 % +34.9"
    assert rows[3][4] == "97.5 ± 0.7 % ±0.0"
    assert rows[7 + 2][2] == "84.79 % measured −23.3"
    assert rows[2][-1] == "–"


def test_best_on_test_is_labelled_in_the_comparison(comparison: str) -> None:
    assert any(BEST_ON_TEST in row[0] for row in Table(comparison, "headline").rows)


def test_finding_is_on_the_page(comparison: str) -> None:
    sentence = (
        "On bias-conflicting test images disent gets 56.5 %, vanilla 21.6 %: 34.9 points more."
    )
    assert sentence in comparison


def finding(base: tuple[float | None, float | None], other: tuple[float | None, Any]) -> str:
    def metrics(method: str, mean: float | None, std: float | None) -> dict[str, Any]:
        summary = {"mean": mean, "std": std, "per_seed": [mean]}
        return {
            "method": method,
            "checkpoints": {"last": {"accuracy": summary, "conflicting_accuracy": summary}},
        }

    (sentence,) = findings([metrics("vanilla", *base), metrics("disent", *other)])
    return sentence


def test_finding_is_honest() -> None:
    assert finding((0.5, 0.01), (0.4, 0.01)).endswith("50.0 %: 10.0 points fewer.")
    assert "within the spread over seeds (± 2.8 points)" in finding((0.5, 0.02), (0.51, 0.02))
    assert "one seed" in finding((0.5, None), (0.51, None))
    assert "no difference" in finding((0.5, 0.001), (0.5, 0.001))
    assert "can't be compared" in finding((None, None), (0.5, 0.1))


def test_finding_without_bias_labels_is_about_all_test_images() -> None:
    runs = [make_run(method, bias_labels=False) for method in ("vanilla", "disent")]
    (sentence,) = findings([run.metrics for run in runs])
    assert sentence.startswith("On the unbiased test split disent gets")


def test_methods_of_different_numbers_of_seeds_are_said_to_be(one_seed: Run, disent: Run) -> None:
    alone = replace(one_seed, metrics={**one_seed.metrics, "method": "vanilla"})
    page = comparison_report(alone, disent)
    assert "over seeds, of which there are: vanilla 1, disent 2" in page
    assert "one seed, so no standard deviation" not in page


def test_comparison_of_nothing_is_refused(disent: Run) -> None:
    with pytest.raises(ValueError, match="at least one method"):
        write_comparison_report([], {}, {}, disent.data_card)


def test_comparison_of_one_method_has_no_finding(disent: Run) -> None:
    assert 'class="finding"' not in comparison_report(disent)


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH")
@pytest.mark.parametrize("which", ["page", "comparison"])
def test_browser_renders_the_page(
    which: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    file = tmp_path / "report.html"
    file.write_text(request.getfixturevalue(which), encoding="utf-8")
    dom = _chromium(tmp_path, "--dump-dom", file.as_uri())
    assert Table(dom, "headline").rows[0][1].startswith("Unbiased accuracy")
    screenshot = tmp_path / "report.png"
    _chromium(tmp_path, f"--screenshot={screenshot}", "--window-size=1200,900", file.as_uri())
    assert screenshot.stat().st_size > 10_000


def _chromium(profile: Path, *arguments: str) -> str:
    switches = "headless no-sandbox disable-gpu no-first-run disable-background-networking "
    switches += "disable-component-update disable-sync"
    command = [str(CHROMIUM), *(f"--{switch}" for switch in switches.split())]
    command += [f"--user-data-dir={profile / 'profile'}", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert "Content Security Policy" not in done.stderr
    return done.stdout
