"""What both reports promise as pages."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from browser import CHROMIUM, chromium
from html_tables import Table
from made_up_published import published, published_elsewhere
from made_up_reports import comparison_report, draw, method_report
from made_up_runs import Run, with_names


@pytest.mark.slow
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
    for html in (method_report(run, draw(run)), comparison_report(run)):
        assert "<script" not in html.lower()
        assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; &lt;b&gt;" in html


@pytest.mark.parametrize("which", ["method_page", "comparison_page"])
def test_page_loads_nothing(which: str, request: pytest.FixtureRequest) -> None:
    html = request.getfixturevalue(which)
    assert "http:" not in html
    assert "https:" not in html
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in html
    assert all(source.startswith("data:") for source in re.findall(r'src="([^"]*)', html))
    assert not re.search(r"<(script|link|iframe|object)|@import|url\((?!%23)", html)


@pytest.mark.parametrize("which", ["method_page", "comparison_page"])
def test_page_is_accessible_and_small(which: str, request: pytest.FixtureRequest) -> None:
    html = request.getfixturevalue(which)
    assert '<html lang="en">' in html
    assert "<title></title>" not in html
    assert len(re.findall(r"<img ", html)) == len(re.findall(r'<img [^>]*alt="[^"]+"', html))
    assert len(html.encode()) < 3_000_000
    ids = re.findall(r' id="([^"]+)"', html)
    assert len(ids) == len(set(ids))


@pytest.mark.slow
def test_same_inputs_give_the_same_page(method_page: str, disent: Run) -> None:
    accuracies = [published(0.8479), published_elsewhere(0.8286)]
    assert method_report(disent, draw(disent), accuracies) == method_page


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH")
@pytest.mark.parametrize("which", ["method_page", "comparison_page"])
def test_browser_renders_the_page(
    which: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    file = tmp_path / "report.html"
    file.write_text(request.getfixturevalue(which), encoding="utf-8")
    dom = chromium(tmp_path, "--dump-dom", file.as_uri())
    assert Table(dom, "headline").rows[0][1].startswith("Unbiased accuracy")
    screenshot = tmp_path / "report.png"
    chromium(tmp_path, f"--screenshot={screenshot}", "--window-size=1200,900", file.as_uri())
    assert screenshot.stat().st_size > 10_000
