"""The estimate of a search counts what training does."""

import time

import pytest

from debias_pipeline.tracked_training import TrainingSettings
from debias_pipeline.tuning import clock
from training.tiny_runs import SHAPE, tiny_data, tiny_recipe


def test_only_evaluated_stages_have_evaluations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "seconds_per_step", lambda *_: 0.0)
    monkeypatch.setattr(clock, "predict", lambda *_: time.sleep(0.01))
    recipe = tiny_recipe("jtt", steps=20, eval_every=5, first_steps=4000).model_dump()
    card = {"image_shape": [*SHAPE], "label_names": ["a", "b", "c"]}
    settings = TrainingSettings(recipe, range(2), "cpu", "fp32", 1, True)
    found = clock.seconds_per_trial({"jtt": recipe}, tiny_data(), card, settings)  # type: ignore[arg-type]
    # Four evaluations; those of the first stage would be 800 more.
    assert 0.04 <= found["jtt"] < 0.4
