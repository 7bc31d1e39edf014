import io
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path

import pytest
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import node, pipeline
from kedro_datasets.json import JSONDataset
from made_up_grids import a_grid
from made_up_published import IN_WORDS, OTHER_SOURCE, published, published_elsewhere
from made_up_runs import Run, based_on, make_run, with_few_images
from rich.console import Console

from debias_pipeline.hooks.summary import print_summary
from debias_pipeline.published import PublishedAccuracy
from debias_pipeline.reporting import MethodResult, RecipeChange, headline_table, make_leaderboard


def rendered(runs: list[Run], published: dict[str, list[PublishedAccuracy]], width: int) -> str:
    console = Console(width=width, file=io.StringIO(), legacy_windows=False)
    results = [
        MethodResult(run.metrics, published=published.get(run.metrics["method"], []))
        for run in runs
    ]
    console.print(headline_table(results, runs[0].data_card))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert all(len(line.rstrip()) <= width for line in text.splitlines())
    return text


@pytest.mark.parametrize("width", [80, 100])
def test_every_value_is_complete(vanilla: Run, disent: Run, width: int) -> None:
    text = rendered(
        [vanilla, disent], {"vanilla": [published(0.6586)], "disent": [published(0.8479)]}, width
    )
    for part in ("vanilla", "disent", "59.5 ± 0.7", "21.6 ± 0.7", "18.5 ± 0.7", "0.971", "84.79"):
        assert part in text
    assert "best on test*" in text
    assert "…" not in text


def test_the_source_of_every_published_accuracy_is_named(vanilla: Run, disent: Run) -> None:
    of_papers = {"vanilla": [published(0.6586)], "disent": [published(0.8479)]}
    text = " ".join(rendered([vanilla, disent], of_papers, 100).split())
    assert f"† {IN_WORDS}" in text
    of_papers["disent"] = [published_elsewhere(0.8286), published(0.8479)]
    text = " ".join(rendered([vanilla, disent], of_papers, 100).split())
    assert f"† vanilla: {IN_WORDS}" in text
    assert f"† disent: {OTHER_SOURCE}: how the checkpoint was selected is not stated" in text
    assert "other images" in text
    assert "82.86" in text and "84.79" not in text


def test_the_metric_that_papers_quote_is_named(disent: Run) -> None:
    of_birds = replace(disent, metrics={**disent.metrics, "headline": "worst_group_accuracy"})
    assert "quote worst group accuracy" in " ".join(rendered([of_birds], {}, 100).split())


def test_unbiased_accuracy_is_explained_and_the_leak_named(disent: Run) -> None:
    text = " ".join(rendered([disent], {}, 100).split())
    assert "Unbiased accuracy is the accuracy on the test split" in text
    assert "biased itself" not in text
    assert "chosen on the test set, as published code does" in text
    assert "published†" not in text


@pytest.mark.parametrize(
    ("run", "warning"),
    [
        (make_run(biased_test=True), "the test split is biased itself"),
        (make_run(bias_labels=False), "The test images have no bias labels"),
    ],
    ids=["biased", "no bias labels"],
)
def test_accuracy_is_not_called_unbiased_without_a_reason(run: Run, warning: str) -> None:
    text = " ".join(rendered([run], {}, 80).split())
    assert "nbiased" not in text.replace("is not known to be unbiased", "")
    assert "Test accuracy is the accuracy on the test split." in text
    assert warning in text


def test_a_rule_based_on_few_images_is_marked_with_their_number(disent: Run) -> None:
    text = rendered([based_on(disent, "selected", 10, 10)], {}, 80)
    assert "selected?" in text
    assert "based on 10 conflicting validation images" in " ".join(text.split())


def test_null_is_a_dash(without_bias_labels: Run) -> None:
    text = rendered([without_bias_labels], {"disent": []}, 80)
    assert "nan" not in text.lower()
    assert "None" not in text


def test_names_are_not_markup(disent: Run) -> None:
    run = replace(disent, metrics={**disent.metrics, "method": "[red]x[/]"})
    assert "[red]x" in rendered([run], {}, 100)


def test_table_of_no_methods_raises() -> None:
    with pytest.raises(ValueError, match="at least one method"):
        headline_table([], {})


def test_few_images_have_their_number_and_an_interval(one_seed: Run) -> None:
    text = rendered([with_few_images(one_seed, "conflicting_accuracy", 2)], {}, 80)
    assert "2 images" in text
    assert "34–100" in text
    assert "95 % interval" in " ".join(text.split())
    worst = rendered([with_few_images(one_seed, "worst_group_accuracy", 5)], {}, 80)
    assert "34–100 n 5" in worst


def test_another_recipe_and_the_name_of_the_data_are_shown(one_seed: Run) -> None:
    run = replace(one_seed, metrics={**one_seed.metrics, "title": "my_photos"})
    console = Console(width=80, file=io.StringIO())
    result = MethodResult(run.metrics, recipe_changes=[RecipeChange("steps", 2000, 40)])
    console.print(headline_table([result], run.data_card))
    text = " ".join(console.file.getvalue().split())  # type: ignore[attr-defined]
    assert "my_photos" in text
    assert "2pct" not in text
    assert "steps 40 instead of 2000" in text
    assert "deviation over seeds" not in text


def test_tables_of_a_run_are_not_wrapped_at_80_columns_in_a_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("COLUMNS", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    data = {"parameters": {}, "leaderboard_json": make_leaderboard(a_grid())}
    catalog = DataCatalog({name: MemoryDataset(value) for name, value in data.items()})
    output = io.StringIO()
    with redirect_stdout(output):
        print_summary(pipeline([node(lambda: {}, None, "leaderboard_json")]), catalog)
    assert 80 < max(map(len, output.getvalue().splitlines())) <= 160


def test_options_of_the_data_that_papers_do_not_use_are_named_in_the_terminal(
    disent: Run, tmp_path: Path
) -> None:
    typed = {"dataset": "cifar10c", "percent": "2pct", "severity": 2, "recipe": {}}
    record = {"recipe": {"method": "disent"}, "seeds": [3, 4], "precision": "fp32"}
    of_method = {"published_accuracy": [published(0.8479)], "recipe": {}, "replaced_defaults": {}}
    data = {
        "parameters": {"typed": typed, "disent": of_method},
        "data_card": {**disent.data_card, "dataset": "cifar10c"},
        "disent.training_record": record,
    }
    metrics = JSONDataset(filepath=str(tmp_path / "metrics.json"))
    metrics.save(disent.metrics)
    memory = {name: MemoryDataset(value) for name, value in data.items()}
    catalog = DataCatalog({**memory, "disent.metrics": metrics})
    output = io.StringIO()
    with redirect_stdout(output):
        print_summary(pipeline([node(lambda: {}, None, "disent.metrics")]), catalog)
    said = " ".join(output.getvalue().split())
    assert "not the published recipe, but severity 2 instead of 4" in said
