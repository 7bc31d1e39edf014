"""Every method goes through the grid once."""

import math
from pathlib import Path

import pandas as pd
from throwaway_project import make_project

from debias_pipeline.methods import method_names

# Few steps of every stage: 300 steps of all methods take minutes.
FEW = {
    "batch_size": 64,
    "steps": 4,
    "eval_every": 4,
    "first_steps": 4,
    "ensemble_steps": 4,
    "swap_start": 2,
}


def test_the_leaderboard_of_a_grid_has_a_row_with_accuracies_for_every_method(
    tmp_path: Path,
) -> None:
    project = make_project(tmp_path / "project")
    names = method_names()
    overrides = {f"benchmark__overrides__{name}": value for name, value in FEW.items()}
    overrides |= {"benchmark__percents": "2pct", "benchmark__seeds": 1, "benchmark__threads": 1}
    overrides["device"] = "cpu"
    # Their batches of 1,024 images and four updates would take most of the time.
    for name in ("selecmix", "lff_selecmix"):
        overrides |= {
            f"benchmark__overrides__{name}__batch_size": 64,
            f"benchmark__overrides__{name}__mini_batches": 1,
        }
    outcome = project.run("--pipeline=benchmark", benchmark__methods="+".join(names), **overrides)
    assert outcome.exit_code == 0, outcome.stderr
    assert f"{len(names)} of {len(names)} trials are done" in outcome.stdout
    table = pd.read_parquet(project.file("08_reporting/benchmark/leaderboard.parquet/*/*"))
    last = table[table["protocol"] == "last"].set_index("method")
    assert set(last.index) == set(names)
    assert all(math.isfinite(value) and 0 <= value <= 1 for value in last["accuracy_mean"])
