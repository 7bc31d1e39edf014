"""Remakes what the documents take from runs: pictures and tables.

    python docs/refresh.py pictures     # docs/images/ from the latest runs that are here
    python docs/refresh.py table cmnist # a Markdown table of whatever was run on a data set

Run it in the project's folder, where the runs were.
"""

import argparse
import json
from pathlib import Path
from typing import Any

REPORTING = Path("data/08_reporting")
IMAGES = Path(__file__).parent / "images"
# Folder of a setting, dataset of it, figure in that → file in docs/images/.
PICTURES = {
    ("cmnist_mini/2pct", "disent/figures.json", "sample_grid"): "sample_grid.svg",
    (
        "cmnist_mini/2pct",
        "comparison_figures.json",
        "compared_learning_curves",
    ): "compared_learning_curves.svg",
    ("cifar10c/5pct", "vanilla/figures.json", "learning_curves"): "cifar10c_vanilla.svg",
    ("cifar10c/5pct", "disent/figures.json", "learning_curves"): "cifar10c_disent.svg",
}
CHOICES = {"last": "last", "selected": "selected", "best_on_test": "best on test"}
METRICS = ("accuracy", "conflicting_accuracy", "aligned_accuracy", "worst_group_accuracy")


def latest(dataset: Path) -> Any:
    """The newest version of a versioned JSON dataset."""
    versions = sorted(dataset.glob(f"*/{dataset.name}"))
    return json.loads(versions[-1].read_text(encoding="utf-8"))


def pictures() -> None:
    """Write the documents' pictures, as far as their runs are here."""
    IMAGES.mkdir(exist_ok=True)
    for (setting, dataset, figure), file in PICTURES.items():
        if (REPORTING / setting / dataset).exists():
            figures = latest(REPORTING / setting / dataset)
            (IMAGES / file).write_text(figures[figure], encoding="utf-8")


def table(dataset: str) -> None:
    """Print the metrics of every percent and method."""
    print(
        "| percent | method | checkpoint | unbiased | conflicting | aligned | worst group | AUROC |"
    )
    print("|---|---|---|---|---|---|---|---|")
    folders = (REPORTING / dataset).glob("*/*/metrics.json")
    for path in sorted(
        folders, key=lambda each: (_number(each.parts[-3]), each.parts[-2] != "vanilla")
    ):
        metrics = latest(path)
        auroc = _figure(metrics["conflict_detection_auroc"], 1, 3)
        for choice, name in CHOICES.items():
            values = metrics["checkpoints"][choice] or {}
            cells = " | ".join(_figure(values.get(each), 100, 1) for each in METRICS)
            print(f"| {metrics['percent']} | {metrics['method']} | {name} | {cells} | {auroc} |")


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
    parser.add_argument("what", choices=("pictures", "table"))
    parser.add_argument("dataset", nargs="?", default="cmnist_mini")
    arguments = parser.parse_args()
    pictures() if arguments.what == "pictures" else table(arguments.dataset)


if __name__ == "__main__":
    main()
