"""Update the pictures and tables that documents take from runs.

    python docs/refresh.py pictures     # docs/images/ from the latest local runs
    python docs/refresh.py table cmnist # print a Markdown table of all runs on a data set
    python docs/refresh.py selection cmnist_mini cmnist # print the tables of docs/selection.md
    python docs/refresh.py leaderboard cmnist # docs/results.md and docs/images/ from the latest
                                              # leaderboard that has the data set
    python docs/refresh.py report       # docs/images/report.webp from the latest comparison report
                                        # of: OMP_NUM_THREADS=1 make run PARAMS=seeds=3

Run it in the project's folder.
"""

import argparse
import io
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pandas as pd

from debias_pipeline.reporting import draw_leaderboard_figures, write_leaderboard_markdown
from debias_pipeline.selection_rules import SELECTION_RULES

MODEL_OUTPUT = Path("data/07_model_output")
REPORTING = Path("data/08_reporting")
IMAGES = Path(__file__).parent / "images"
RESULTS = Path(__file__).parent / "results.md"
LEADERBOARD = REPORTING / "benchmark" / "leaderboard.json"
# Folder of a setting, dataset in it, figure of the dataset → file in docs/images/.
PICTURES = {
    ("cmnist_mini/2pct", "disent/figures", "sample_grid"): "sample_grid.svg",
    (
        "cmnist_mini/2pct",
        "comparison_figures",
        "compared_learning_curves",
    ): "compared_learning_curves.svg",
    ("cifar10c/5pct", "vanilla/figures", "learning_curves"): "cifar10c_vanilla.svg",
    ("cifar10c/5pct", "disent/figures", "learning_curves"): "cifar10c_disent.svg",
}
# Shown as a warning, not selection rules: column of the table → column of the history.
WARNINGS = {
    "plain validation": "valid_accuracy",
    "worst class": "valid_worst_class_accuracy",
}
METRICS = ("accuracy", "conflicting_accuracy", "aligned_accuracy", "worst_group_accuracy")


def latest(dataset: Path) -> Any:
    """Load the newest version of a versioned JSON dataset."""
    versions = sorted(dataset.glob(f"*/{dataset.name}"))
    return json.loads(versions[-1].read_text(encoding="utf-8"))


def pictures() -> None:
    """Write the pictures of documents whose runs exist locally."""
    IMAGES.mkdir(exist_ok=True)
    for (setting, dataset, figure), file in PICTURES.items():
        folder = REPORTING / setting / dataset
        versions = sorted(folder.glob(f"*/{folder.name}/index.json"))
        if versions:
            shutil.copyfile(versions[-1].with_name(f"{figure}.svg"), IMAGES / file)


def report() -> None:
    """Take a picture of the first screen of the latest comparison report, as a browser shows it."""
    from PIL import Image
    from playwright.sync_api import sync_playwright

    newest = sorted(REPORTING.glob("cmnist_mini/2pct/comparison_report.html/*/*.html"))[-1]
    with sync_playwright() as started:
        browser = started.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        page = browser.new_page(viewport={"width": 1100, "height": 700}, device_scale_factor=1.5)
        page.goto(newest.resolve().as_uri())
        page.wait_for_selector("html.ready")
        picture = page.screenshot()
        browser.close()
    Image.open(io.BytesIO(picture)).save(IMAGES / "report.webp", quality=85, method=6)


def table(dataset: str) -> None:
    """Print the metrics of every percent and method."""
    print(
        "| percent | method | checkpoint | unbiased | conflicting | aligned | worst group | AUROC |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for path in _metrics_files(dataset):
        metrics = latest(path)
        auroc = _figure(metrics["conflict_detection_auroc"], 1, 3)
        for rule in SELECTION_RULES.values():
            values = metrics["checkpoints"].get(rule.key) or {}
            cells = " | ".join(_figure(values.get(each), 100, 1) for each in METRICS)
            place = f"{metrics['percent']} | {metrics['method']}"
            print(f"| {place} | {rule.name} | {cells} | {auroc} |")


def selection(datasets: list[str]) -> None:
    """Print how far each selection rule is below the best step on the test set, in points.

    There is a table per data set with mean and standard deviation over seeds, and one that
    summarises their rows.
    """
    names = [*(rule.name for rule in SELECTION_RULES.values() if not rule.leaks), *WARNINGS]
    regrets, below_last = [], []
    for dataset in datasets:
        print(f"\n| percent | method | best on test | {' | '.join(names)} |")
        print("|---" * (3 + len(names)) + "|")
        for path in _metrics_files(dataset):
            metrics = latest(path)
            accuracy = _accuracy_by_rule(path, metrics)
            best = accuracy.pop("best_on_test")
            regret = pd.DataFrame({name: best - each for name, each in accuracy.items()})
            regrets.append(regret.mean().set_axis(names))
            below_last.append(regret.sub(regret["last"], axis=0).max().set_axis(names))
            cells = [_in_percent(best), *(_in_percent(regret[name]) for name in regret)]
            print(f"| {metrics['percent']} | {metrics['method']} | {' | '.join(cells)} |")
    print("\n| rule | mean regret | highest regret of a row | furthest below last, one seed |")
    print("|---|---|---|---|")
    rows, seeds = 100 * pd.DataFrame(regrets), 100 * pd.DataFrame(below_last)
    for name in names:
        values = (rows[name].mean(), rows[name].max(), seeds[name].max())
        print(f"| {name} | {' | '.join(f'{value:.1f}' for value in values)} |")


def _accuracy_by_rule(path: Path, metrics: dict[str, Any]) -> dict[str, pd.Series]:
    """Return the headline on the test split by seed, for each rule and each of WARNINGS."""
    history = _latest_history(MODEL_OUTPUT / path.parent.relative_to(REPORTING))
    accuracy, headline = _test_accuracies(metrics), f"test_{metrics['headline']}"
    for name, column in WARNINGS.items():
        chosen = history.loc[history.groupby("seed")[column].idxmax()]
        accuracy[name] = chosen.set_index("seed")[headline]
    return accuracy


def leaderboard(dataset: str) -> None:
    """Write a data set's leaderboard between its marks in results.md, and its figure to a file."""
    board = _latest_leaderboard(dataset)
    image = IMAGES / f"leaderboard_{dataset}.svg"
    text = RESULTS.read_text(encoding="utf-8")
    for mark in _marks(dataset):
        if text.count(mark) != 1:
            sys.exit(f"{RESULTS} must have the line {mark} once: put it where the table belongs")
    figures = draw_leaderboard_figures(board)
    table = write_leaderboard_markdown(board)
    if dataset in figures:
        IMAGES.mkdir(exist_ok=True)
        image.write_text(figures[dataset], encoding="utf-8")
        table += f"\n![Accuracy against percent, by method and checkpoint](images/{image.name})\n"
    begin, end = _marks(dataset)
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    RESULTS.write_text(f"{before}{begin}\n\n{table}\n{end}{after}", encoding="utf-8")


def _metrics_files(dataset: str) -> list[Path]:
    """Return the metrics of ordinary runs, by percent, vanilla first."""
    found = (REPORTING / dataset).glob("*/*/metrics.json")
    return sorted(found, key=lambda each: (_number(each.parts[-3]), each.parts[-2] != "vanilla"))


def _latest_history(folder: Path) -> pd.DataFrame:
    versions = sorted((folder / "history.parquet").glob("*/history.parquet"))
    return pd.read_parquet(versions[-1])


def _test_accuracies(metrics: dict[str, Any]) -> dict[str, pd.Series]:
    """Return rule → headline on the test split by seed; NaN if the rule selected no step."""
    unknown = [float("nan")] * len(metrics["seeds"])
    values = {
        rule: (metrics["checkpoints"].get(rule) or {}).get(metrics["headline"])
        for rule in SELECTION_RULES
    }
    return {
        rule: pd.Series(each["per_seed"] if each else unknown, metrics["seeds"])
        for rule, each in values.items()
    }


def _in_percent(values: pd.Series) -> str:
    mean, std = 100 * values.mean(), 100 * values.std()
    return "–" if values.isna().any() else f"{mean:.1f} ± {std:.1f}"


def _latest_leaderboard(dataset: str) -> dict[str, Any]:
    """Return the newest leaderboard with results of the data set, without those of other sets."""
    for version in sorted(LEADERBOARD.glob(f"*/{LEADERBOARD.name}"), reverse=True):
        board: dict[str, Any] = json.loads(version.read_text(encoding="utf-8"))
        rows = [row for row in board["rows"] if row["dataset"] == dataset]
        if any(row["mean"] is not None for row in rows):
            comparisons = [each for each in board["comparisons"] if each["dataset"] == dataset]
            return {**board, "rows": rows, "comparisons": comparisons}
    sys.exit(f"No leaderboard in {LEADERBOARD} has results of {dataset}: run the grid first")


def _marks(dataset: str) -> tuple[str, str]:
    return f"<!-- leaderboard of {dataset} -->", f"<!-- end of leaderboard of {dataset} -->"


def _figure(values: dict[str, Any] | None, scale: float, digits: int) -> str:
    if not values or values["mean"] is None:
        return "–"
    mean = f"{scale * values['mean']:.{digits}f}"
    return mean if values["std"] is None else f"{mean} ± {scale * values['std']:.{digits}f}"


def _number(percent: str) -> float:
    return float(percent.split("pct")[0])


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("pictures", "report", "table", "selection", "leaderboard"))
    parser.add_argument("datasets", nargs="*", default=["cmnist_mini"], metavar="dataset")
    arguments = parser.parse_args()
    if arguments.what == "pictures":
        pictures()
    elif arguments.what == "report":
        report()
    elif arguments.what == "table":
        table(arguments.datasets[0])
    elif arguments.what == "selection":
        selection(arguments.datasets)
    else:
        leaderboard(arguments.datasets[0])


if __name__ == "__main__":
    main()
