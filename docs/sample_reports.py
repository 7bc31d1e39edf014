"""Make the sample reports of the site, by short runs in a temporary copy of the project.

python docs/sample_reports.py build/sample_reports     # some minutes; `make docs` does it once
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
# Fixed steps, so that the reports do not depend on the speed of the machine.
COMMANDS = (
    "kedro run --params seeds=2,threads=1,recipe.steps=1500",
    "python docs/made_up_photos.py animals my_photos",
    "kedro run --pipeline=audit --params "
    "dataset=folder,raw_dir=my_photos,threads=1,recipe.network=conv4,recipe.steps=320",
    "kedro run --pipeline=benchmark --params "
    "benchmark.percents=2pct,benchmark.methods=vanilla,benchmark.seeds=2,"
    "benchmark.threads=1,benchmark.overrides.steps=500",
)


class Report(NamedTuple):
    """A sample report: its place in the project's data/08_reporting/, and its title on the site."""

    place: str
    title: str


# By name on the site.
REPORTS = {
    "comparison": Report("cmnist_mini/2pct/comparison_report.html", "Vanilla and DisEnt compared"),
    "disent": Report(
        "cmnist_mini/2pct/disent/report.html",
        "DisEnt: weights, groups, misclassified and suspicious images",
    ),
    "vanilla": Report("cmnist_mini/2pct/vanilla/report.html", "The plain classifier"),
    "audit": Report("folder/*/audit/report.html", "Audit of photos with a planted shortcut"),
    "leaderboard": Report("benchmark/leaderboard.html", "Leaderboard of a grid"),
}


def make_reports(target: Path) -> None:
    """Run COMMANDS and copy their reports to a folder, with the commands in made_by.txt."""
    executables = Path(sys.executable).parent
    search_path = f"{executables}{os.pathsep}{os.environ['PATH']}"
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder, "project")
        for name in ("conf", "docs", "src"):
            shutil.copytree(ROOT / name, project / name)
        for name in ("pyproject.toml", ".telemetry"):
            shutil.copy(ROOT / name, project / name)
        for command in COMMANDS:
            print(command, flush=True)
            environment = {**os.environ, "PATH": search_path, "DO_NOT_TRACK": "1"}
            subprocess.run(command.split(), cwd=project, env=environment, check=True)
        target.mkdir(parents=True, exist_ok=True)
        for name, report in REPORTS.items():
            newest = sorted(project.glob(f"data/08_reporting/{report.place}/*/*.html"))[-1]
            shutil.copyfile(newest, target / f"{name}.html")
            if (tables := newest.parent / "tables").is_dir():
                shutil.copytree(tables, target / f"{name}_tables", dirs_exist_ok=True)
    (target / "made_by.txt").write_text("\n".join(COMMANDS) + "\n", encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Make the sample reports of the site.")
    parser.add_argument("target", type=Path, help="folder for the reports")
    make_reports(parser.parse_args().target)
