"""The tables of reports as files."""

import io
import re

import pandas as pd
import pytest
from made_up_reports import result_of
from made_up_runs import Run, with_names

from debias_pipeline.names import METRICS
from debias_pipeline.reporting import (
    MethodResult,
    MethodSections,
    write_comparison_report,
    write_method_report,
)
from debias_pipeline.reporting.table_files import PageTable, write_table_files
from debias_pipeline.selection_rules import SELECTION_RULES


def files_of(run: Run) -> tuple[str, dict[str, str]]:
    return write_method_report(
        result_of(run), {}, {}, run.group_accuracy, run.manifest, run.data_card, MethodSections()
    )


def test_values_of_a_comparison_are_those_of_the_metrics(vanilla: Run, disent: Run) -> None:
    runs = {run.metrics["method"]: run.metrics for run in (vanilla, disent)}
    results = [*map(MethodResult, runs.values())]
    _, files = write_comparison_report(results, {}, {}, disent.data_card)
    assert list(files) == ["accuracy.csv", "accuracy.md", "accuracy.tex"]
    table = pd.read_csv(io.StringIO(files["accuracy.csv"])).set_index(["method", "checkpoint"])
    assert len(table) == len(runs) * len(SELECTION_RULES)
    for method, metrics in runs.items():
        for key, selected in metrics["checkpoints"].items():
            row = table.loc[method, SELECTION_RULES[key].name]
            for name in METRICS:
                assert row[f"{name}_mean"] == pytest.approx(selected[name]["mean"])
                assert row[f"{name}_std"] == pytest.approx(selected[name]["std"])
    last = disent.metrics["checkpoints"]["last"]["accuracy"]
    mean, std = (f"{100 * last[name]:.1f}" for name in ("mean", "std"))
    assert f"| disent | last | {mean} ± {std} |" in files["accuracy.md"]
    assert rf"disent & last & {mean} $\pm$ {std} &" in files["accuracy.tex"]


def test_the_caption_explains_only_rules_that_the_table_has(disent: Run) -> None:
    checkpoints = {**disent.metrics["checkpoints"], "best_on_test": None}
    without = {**disent.metrics, "checkpoints": checkpoints}
    _, files = write_comparison_report([MethodResult(without)], {}, {}, disent.data_card)
    assert "best on test" not in files["accuracy.md"]


def test_groups_of_a_report_are_those_of_all_rules(disent: Run) -> None:
    _, files = files_of(disent)
    table = pd.read_csv(io.StringIO(files["groups.csv"]), dtype={"label": str})
    expected = disent.group_accuracy.groupby(["checkpoint", "label", "bias"])["accuracy"].mean()
    assert len(table) == len(expected)
    assert table["accuracy_mean"].sum() == pytest.approx(expected.sum())
    assert files["groups.md"].count("\n|") == 2 + 100
    assert r"\begin{longtable}" in files["groups.tex"]


def test_a_report_links_to_all_its_files(disent: Run, without_bias_labels: Run) -> None:
    for run in (disent, without_bias_labels):
        page, files = files_of(run)
        assert re.findall(r'href="tables/([^"]+)"', page) == list(files)
    assert "groups.csv" not in files


def test_text_from_data_is_escaped_in_every_format(disent: Run) -> None:
    evil = "=1+1 | <b> & 5 % \\input{x}"
    run = with_names(disent, [evil] * 10, [evil] * 10)
    _, files = files_of(run)
    assert f"last,'{evil}" in files["groups.csv"]
    assert r"=1+1 \| \<b\> \& 5 %" in files["groups.md"]
    escaped = r"\textbar{} \textless{}b\textgreater{} \& 5 \% \textbackslash{}input"
    assert escaped in files["groups.tex"]


def test_names_that_begin_like_an_argument_or_a_formula_are_text(disent: Run) -> None:
    names = ["[old]", "*new", "~~cat~~", "$x$"]
    run = with_names(disent, [*names, *"456789"], [*"0123456789"])
    _, files = files_of(run)
    for line in files["groups.tex"].splitlines():
        assert not line.lstrip().startswith(("[", "*"))
    for name in ("{[}old{]}", "{*}new"):
        assert f"\n{name} & " in files["groups.tex"]
    for name in (r"\~\~cat\~\~", r"\$x\$"):
        assert f"| {name} |" in files["groups.md"]


def test_an_empty_value_is_empty_in_csv_and_a_dash_elsewhere(without_bias_labels: Run) -> None:
    _, files = files_of(without_bias_labels)
    table = pd.read_csv(io.StringIO(files["accuracy.csv"]))
    assert table["conflicting_accuracy_mean"].isna().all()
    assert "| – |" in files["accuracy.md"]
    assert "& -- &" in files["accuracy.tex"]


def test_short_tables_stay_on_one_page() -> None:
    frame = pd.DataFrame({"a": ["x"], "b": ["y"], "c": ["1"]})
    files = write_table_files([PageTable("small", "Small.", frame, frame)])
    assert r"\begin{table}[htbp]" in files["small.tex"]
    assert r"\begin{tabular}{llr}" in files["small.tex"]
    assert files["small.md"] == "Small.\n\n| a | b | c |\n|---|---|---|\n| x | y | 1 |\n"
