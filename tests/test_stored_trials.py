"""`stored_trials`: the trials that a leaderboard without results names."""

import json
from pathlib import Path

from kedro.io import DataCatalog

from debias_pipeline.hooks.stored_trials import stored_trials
from debias_pipeline.io import AtomicTextDataset


def test_the_newest_outcome_of_every_trial_is_listed_by_its_settings(tmp_path: Path) -> None:
    def write(trial: str, version: str, text: str) -> None:
        file = tmp_path / trial / "outcome.json" / version / "outcome.json"
        file.parent.mkdir(parents=True)
        file.write_text(text)

    def outcome(steps: int) -> str:
        return json.dumps({"seeds": [0, 1], "steps": steps, "precision": "fp32"})

    write("cmnist/2pct/benchmark-1a/vanilla", "v1", outcome(60))
    write("cmnist/2pct/benchmark-1a/disent", "v1", outcome(10))
    write("cmnist/2pct/benchmark-1a/disent", "v2", outcome(60))
    write("folder/cows-2b/benchmark-3c/lff", "v1", outcome(500))
    write("folder/cows-2b/benchmark-4d/lff", "v1", "{")
    page = AtomicTextDataset(filepath=f"{tmp_path}/benchmark/leaderboard.html")
    assert stored_trials(DataCatalog({"leaderboard_page": page})) == [
        "cmnist/2pct: disent, vanilla (seeds 0+1, steps 60, fp32)",
        "folder/cows-2b: lff (seeds 0+1, steps 500, fp32)",
    ]
