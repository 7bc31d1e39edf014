"""Pages in a browser: what is visible, and what switches, filters and buttons do."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from made_up_grids import a_grid, done
from made_up_reports import comparison_report, method_report
from made_up_runs import Run
from test_feature_section import section_of as feature_section_of
from test_suspect_section import section_of

from debias_pipeline.reporting import (
    PageGroup,
    StoredPage,
    TrialResult,
    leaderboard_charts,
    make_leaderboard,
    write_index_page,
    write_leaderboard_page,
)
from in_browser import DESKTOP, PHONE, chromium, needs_chromium, serious_barriers

playwright = pytest.importorskip("playwright.sync_api")
pytestmark = [pytest.mark.slow, needs_chromium]
# Drawing figures takes longer than all that is tested here.
FIGURES = dict.fromkeys(
    (
        "learning_curves",
        "group_heat_map",
        "weight_histogram",
        "sample_grid",
        "compared_metrics",
        "compared_learning_curves",
    ),
    '<svg xmlns="http://www.w3.org/2000/svg" width="600" height="300"></svg>',
)
# Long lists, of which the first items are enough.
OMITTED = ".gallery li:nth-child(n+4), tbody tr:nth-child(n+5), .looks li:nth-child(n+3)"
SIZES = {"phone": PHONE, "desktop": DESKTOP}


@pytest.fixture(scope="module")
def pages(vanilla: Run, disent: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pages")
    leaderboard = make_leaderboard(
        [
            *a_grid(),
            an_oracle(),
            done("rwg", [0.2, 0.25, 0.3], outcome={"seconds": 120.0}, percent="0.5pct"),
            replace(done("rwg", [0.5, 0.55, 0.6]), origin="commit 0123"),
        ]
    )
    suspects = section_of(disent)
    html = {
        "method": method_report(
            with_other_mistakes(disent),
            FIGURES,
            suspects=suspects,
            features=feature_section_of(disent),
            with_charts=True,
        ),
        "comparison": comparison_report(vanilla, disent, figures=FIGURES, with_charts=True),
        "leaderboard": write_leaderboard_page(
            leaderboard,
            {"cmnist": FIGURES["compared_metrics"]},
            ["kedro run"],
            charts=leaderboard_charts(leaderboard),
        ),
        "index": write_index_page("x", [PageGroup("old", [StoredPage("a.html", "v1", {})])]),
    }
    for name, text in html.items():
        (folder / f"{name}.html").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator["playwright.Browser"]:
    with chromium() as launched:
        yield launched


@pytest.fixture
def open_page(browser: "playwright.Browser", pages: Path) -> Iterator["Opener"]:
    opener = Opener(browser, pages)
    yield opener
    opener.close()


def an_oracle() -> TrialResult:
    return replace(done("groupdro", [0.9, 0.92, 0.91]), bias_labels="training")


def with_other_mistakes(run: Run) -> Run:
    """Seed 4 mistakes every sixth test image for the label after the next one."""
    table = run.predictions
    labels = run.manifest.set_index("image_id")["label"].loc[table["image_id"]].to_numpy()
    shifted = (table["seed"] == 4) & (table["prediction"] != labels)
    return replace(run, predictions=table.assign(prediction=(table["prediction"] + shifted) % 10))


class Opener:
    """Opens pages, and fails at the end on messages of the console and on foreign requests."""

    def __init__(self, browser: "playwright.Browser", pages: Path) -> None:
        self._browser, self._pages = browser, pages
        self._context: playwright.BrowserContext | None = None
        self._faults: list[str] = []

    def __call__(
        self, name: str, size: str = "desktop", scheme: str = "light", script: bool = True
    ) -> "playwright.Page":
        width, height = SIZES[size]
        self._context = self._browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme=scheme,
            java_script_enabled=script,
        )
        page = self._context.new_page()
        page.set_default_timeout(15_000)
        page.on("console", lambda message: self._faults.append(message.text))
        page.on("pageerror", lambda error: self._faults.append(str(error)))
        page.on("request", lambda request: self._note(request.url))
        page.goto((self._pages / f"{name}.html").as_uri())
        if script and name != "index":
            page.wait_for_selector("html.ready")
        return page

    def _note(self, url: str) -> None:
        if not url.startswith(("file:", "data:")):
            self._faults.append(url)

    def close(self) -> None:
        if self._context is not None:
            self._context.close()
        assert self._faults == []


@pytest.mark.parametrize("name", ["method", "comparison", "leaderboard", "index"])
def test_nothing_is_wider_than_a_phone(open_page: Opener, name: str) -> None:
    page = open_page(name, "phone", "dark")
    assert page.evaluate("document.documentElement.scrollWidth") == 390


@pytest.mark.parametrize(
    ("name", "table"),
    [("method", "#key"), ("comparison", "#headline"), ("leaderboard", "#cmnist-accuracy")],
)
def test_the_first_screen_has_sentence_picture_and_numbers(
    open_page: Opener, name: str, table: str
) -> None:
    page = open_page(name)
    for selector in (".finding", ".plot svg", table):
        box = page.locator(selector).first.bounding_box()
        assert box is not None and box["height"] > 20
        assert box["y"] < 800


def test_without_scripts_the_leaderboard_shows_every_rule(open_page: Opener) -> None:
    page = open_page("leaderboard", script=False)
    assert page.locator("#cmnist img").is_visible()
    assert page.locator("#cmnist-accuracy tbody:visible").count() == 8
    assert page.get_by_text("Notes on best on test").is_visible()


def test_without_scripts_everything_is_shown(open_page: Opener) -> None:
    page = open_page("method", script=False)
    assert page.locator("#learning_curves img").is_visible()
    assert page.locator("#headline tbody tr").count() == 4
    assert page.locator("#groups tbody tr").count() == 100
    assert page.locator("#switch").is_hidden()
    assert page.locator("#view").is_hidden()


def test_switches_of_rule_and_seed_change_all_values(open_page: Opener, disent: Run) -> None:
    page = open_page("method")
    key = page.locator("#key td").first
    assert key.inner_text().startswith("59.5 ± 0.7 %")
    confusion = page.locator("[data-branch='0'] tbody tr td").first
    shares, group = confusion.inner_text(), page.locator("#groups tbody tr td:nth-child(5)")
    before = group.all_inner_texts()
    page.get_by_label("Seed").select_option("4")
    assert key.inner_text().startswith("59.0 %")
    assert page.locator("#headline tbody tr").first.locator("td").first.inner_text() == "59.0 %"
    assert confusion.inner_text() != shares
    assert all("±" not in text for text in group.all_inner_texts())
    page.get_by_label("Selection rule").select_option("selected")
    assert key.inner_text().startswith("60.0 %")
    assert page.locator("tr.chosen th").inner_text().startswith("selected")
    assert "selection rule: selected; seed 4" in page.locator("[data-shown]").first.inner_text()
    page.get_by_label("Selection rule").select_option("last")
    page.get_by_label("Seed").select_option("mean")
    assert group.all_inner_texts() == before
    assert key.inner_text().startswith("59.5 ± 0.7 %")


def test_the_comparison_shows_one_rule_or_all(open_page: Opener) -> None:
    page = open_page("comparison")
    assert page.locator("#headline tbody:visible").count() == 1
    page.get_by_label("Selection rule").select_option("all")
    assert page.locator("#headline tbody:visible").count() == 4


def test_the_leaderboard_shows_one_rule_or_all(open_page: Opener) -> None:
    page = open_page("leaderboard")
    rules = page.locator("#cmnist-accuracy tbody:visible")
    marks = page.locator("#cmnist .mark-symbol path")
    # The oracle has a part of the table to itself.
    assert [each.get_attribute("data-rule") for each in rules.all()] == ["last"] * 2
    assert page.get_by_text("Notes on best on test").is_hidden()
    shown = marks.count()
    page.get_by_label("Selection rule").select_option("best_on_test")
    assert [each.get_attribute("data-rule") for each in rules.all()] == ["best_on_test"] * 2
    assert page.get_by_text("Notes on best on test").is_visible()
    # With hollow marks of published accuracies.
    page.wait_for_function(
        f"document.querySelectorAll('#cmnist .mark-symbol path').length > {shown}"
    )
    page.get_by_label("Selection rule").select_option("all")
    assert rules.count() == 8


def test_the_leaderboard_can_be_sorted_and_filtered(open_page: Opener) -> None:
    page = open_page("leaderboard")
    rows = page.locator("#cmnist-accuracy tr:visible th[scope=row]")

    def methods() -> list[str]:
        return [text.split("\n")[0] for text in rows.all_inner_texts()]

    assert methods() == ["vanilla", "lff", "disent", "rwg", "groupdro"]
    head = page.locator("#cmnist-accuracy thead").get_by_role("button", name="2pct")
    head.click()
    assert methods() == ["rwg", "vanilla", "lff", "disent", "groupdro"]
    head.click()
    # Oracles are not ranked, whatever their accuracy.
    assert methods() == ["disent", "lff", "vanilla", "rwg", "groupdro"]
    tools = page.locator(".tools", has=page.get_by_text("of 5 methods"))
    tools.get_by_label("Results").select_option("references")
    assert methods() == ["rwg"]
    tools.get_by_label("Results").select_option("own")
    # A method may have both.
    assert methods() == ["disent", "lff", "vanilla", "rwg", "groupdro"]
    tools.get_by_label("Bias labels").select_option("training")
    assert methods() == ["groupdro"]
    tools.get_by_label("Bias labels").select_option("none")
    tools.get_by_label("Filter").fill("lff")
    assert methods() == ["lff"]
    page.get_by_label("Selection rule").select_option("pseudo_groups")
    assert methods() == ["lff"]
    assert tools.get_by_text("1 of 5 methods").is_visible()


def test_trials_are_sorted_by_their_values_and_not_by_text(open_page: Opener) -> None:
    page = open_page("leaderboard")
    page.get_by_role("button", name="Time").click()
    column = page.locator("#cmnist-trials tbody").first.locator("td:nth-last-child(3)")
    # Those of references have a mark.
    times = list(dict.fromkeys(text.rstrip("ᴿ") for text in column.all_inner_texts()))
    # By text, "12 min" is before "2 min". Trials without a time come last.
    assert times == ["2 min 0 s", "12 min 34 s", "not run"]


def test_charts_of_the_leaderboard_have_hover_values(open_page: Opener) -> None:
    page = open_page("leaderboard")
    page.locator("#cmnist .mark-symbol path").last.hover(force=True)
    page.wait_for_selector("#vg-tooltip-element.visible")
    text = page.locator("#vg-tooltip-element").inner_text()
    assert "accuracy in %" in text and "±" in text


def test_groups_can_be_sorted_and_filtered(open_page: Opener) -> None:
    page = open_page("method")
    page.get_by_role("button", name="Images", exact=True).click()
    counts = [int(text) for text in page.locator("#groups td:nth-child(5)").all_inner_texts()]
    assert counts == sorted(counts)
    assert page.locator("#groups th[aria-sort=ascending]").inner_text().startswith("Images")
    page.get_by_label("Filter").fill("aligned")
    assert page.locator("#groups tbody tr:visible").count() == 10
    page.get_by_label("Filter").fill("no such group")
    assert page.get_by_text("0 of 100 groups").is_visible()


def test_charts_have_hover_values_and_a_legend_that_hides(open_page: Opener) -> None:
    page = open_page("method")
    lines = page.locator("#learning_curves .mark-line path")
    shown = lines.count()
    page.get_by_label("valid, all").press("Space")
    page.wait_for_function(
        f"document.querySelectorAll('#learning_curves .mark-line path').length < {shown}"
    )
    page.locator("#learning_curves .mark-symbol path").last.hover(force=True)
    page.wait_for_selector("#vg-tooltip-element.visible")
    assert "%" in page.locator("#vg-tooltip-element").inner_text()


def test_maps_of_features_are_coloured_by_label_or_by_bias(open_page: Opener) -> None:
    page = open_page("method")
    legend = page.locator("#feature_map .role-legend-label text")
    assert legend.all_text_contents() == [str(digit) for digit in range(10)]
    page.locator("#feature_map select").select_option("bias")
    page.wait_for_function(
        "document.querySelector('#feature_map .role-legend-label text').textContent === 'red'"
    )
    page.locator("#feature_map .role-mark.mark-symbol path").last.hover(force=True)
    page.wait_for_selector("#vg-tooltip-element.visible")
    assert ".png" in page.locator("#vg-tooltip-element").inner_text()


def test_charts_follow_the_colour_scheme(open_page: Opener) -> None:
    page = open_page("method", scheme="dark")
    label = page.locator("#learning_curves .role-axis-label text").first
    dark = label.evaluate("node => getComputedStyle(node).fill")
    page.emulate_media(color_scheme="light")
    page.wait_for_function(
        "dark => getComputedStyle(document.querySelector("
        "'#learning_curves .role-axis-label text')).fill !== dark",
        arg=dark,
    )


def test_images_are_filtered_enlarged_and_copied(open_page: Opener) -> None:
    page = open_page("method")
    box = page.locator(".gallery-box", has=page.locator("#suspect-images"))
    box.get_by_label("Label").select_option("3")
    box.get_by_label("Split").select_option("test")
    tiles = box.locator("li:visible")
    assert 0 < tiles.count() < 12
    for text in tiles.all_inner_texts():
        assert "test · " in text and " · 3, weight" in text
    names = [tile.get_attribute("data-file") for tile in tiles.all()]
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    box.get_by_role("button", name="Copy file names").click()
    assert page.evaluate("navigator.clipboard.readText()").split() == names
    tiles.first.get_by_role("button").click()
    dialog = page.locator("#view")
    assert dialog.is_visible()
    assert names[0] in dialog.inner_text()
    small, large = tiles.first.locator("img").bounding_box(), dialog.locator("img").bounding_box()
    assert large["width"] > 2 * small["width"]
    page.keyboard.press("ArrowRight")
    assert names[1 % len(names)] in dialog.inner_text()
    page.keyboard.press("Escape")
    assert dialog.is_hidden()


def test_misclassified_images_follow_the_seed(open_page: Opener, disent: Run) -> None:
    page = open_page("method")
    box = page.locator(".gallery-box", has=page.locator("#misclassified"))
    tiles, note = box.locator("li:visible"), box.locator(".note")
    files = [tile.get_attribute("data-file") for tile in tiles.all()]
    of_all = tiles.all_inner_texts(), note.inner_text()
    test = disent.manifest[disent.manifest["split"] == "test"].set_index("source")["label"]
    wrong = test[::6].to_dict()
    page.get_by_label("Seed").select_option("4")
    assert {
        tile.get_attribute("data-file"): tile.locator("i").inner_text() for tile in tiles.all()
    } == {
        file: f"{wrong[file]}, predicted {(wrong[file] + 2) % 10}"
        for file in files
        if file in wrong
    }
    count = tiles.count()
    assert f"{count} of {len(wrong)} test images" in note.inner_text()
    assert "seed 4" in note.inner_text()
    assert f"{count} of {count} images" in box.locator(".tools").inner_text()
    page.get_by_label("Seed").select_option("mean")
    assert (tiles.all_inner_texts(), note.inner_text()) == of_all


def test_tables_are_copied_as_markdown_and_csv(open_page: Opener) -> None:
    page = open_page("comparison")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy as Markdown").click()
    lines = page.evaluate("navigator.clipboard.readText()").splitlines()
    assert lines[0].startswith("| Method | Unbiased accuracy")
    assert len({line.count("|") for line in lines}) == 1
    page.get_by_role("button", name="Copy as CSV").click()
    text = page.evaluate("navigator.clipboard.readText()")
    assert '"disent"' in text and '"59.5 ± 0.7 % +34.9"' in text


@pytest.mark.parametrize(
    ("name", "size", "scheme"),
    [
        ("method", "phone", "light"),
        ("method", "desktop", "dark"),
        ("comparison", "phone", "dark"),
        ("comparison", "desktop", "light"),
        ("leaderboard", "phone", "light"),
        ("leaderboard", "desktop", "dark"),
    ],
)
def test_no_serious_barriers(open_page: Opener, name: str, size: str, scheme: str) -> None:
    assert serious_barriers(open_page(name, size, scheme), OMITTED) == []


def test_print_shows_the_figures_and_cuts_no_table(open_page: Opener, tmp_path: Path) -> None:
    page = open_page("method", scheme="dark")
    page.emulate_media(media="print")
    assert page.locator("#learning_curves img").is_visible()
    assert page.locator("#learning_curves .plot").is_hidden()
    assert (
        page.evaluate("getComputedStyle(document.querySelector('.scroll')).overflowX") == "visible"
    )
    assert len(page.pdf(path=tmp_path / "page.pdf")) > 50_000
