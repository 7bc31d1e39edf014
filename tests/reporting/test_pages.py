"""What both reports promise as pages."""

import base64
import hashlib
import re
from dataclasses import replace
from typing import Any

import pytest
from made_up_published import published, published_elsewhere
from made_up_reports import comparison_report, draw, method_report
from made_up_runs import Run, with_names

from debias_pipeline.errors import UserError
from debias_pipeline.reporting import MethodResult
from debias_pipeline.reporting.pages.provenance import provenance


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
        assert "<script>alert" not in html.lower()
        assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; &lt;b&gt;" in html


@pytest.mark.parametrize("which", ["method_page", "comparison_page"])
def test_page_loads_nothing_and_runs_only_its_own_scripts(
    which: str, request: pytest.FixtureRequest
) -> None:
    html = request.getfixturevalue(which)
    assert "http:" not in html
    assert "https:" not in html
    assert all(source.startswith("data:") for source in re.findall(r' src="([^"]*)', html))
    assert not re.search(r"<(link|iframe|object)|@import|url\((?!%23)", html)
    (script,) = re.findall(r"<script>(.*?)</script>", html, re.S)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    assert f"{policy}; script-src 'sha256-{digest}'\"" in html


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


def test_the_footer_links_to_the_mlflow_run_if_the_address_is_known() -> None:
    card: Any = {"content_hash": "5f1c"}
    metrics: Any = {"method": "disent"}
    results = [MethodResult(metrics, {"mlflow_run_id": "a/b"})]
    (_, facts), _ = provenance(results, card, "http://runs.example/")
    assert facts["MLflow run"] == ("a/b", "http://runs.example/#/runs/a%2Fb")
    (_, facts), _ = provenance(results, card)
    assert facts["MLflow run"].link == "" and "mlflow.db" in facts["MLflow run"].text
    with pytest.raises(UserError, match="javascript"):
        provenance(results, card, "javascript:alert(1)")
