"""Progress where there is no terminal: lines at a bounded rate, from the first minute on."""

import logging

import pytest

from debias_pipeline.training import Progress

ROW = {"valid_accuracy": 0.5, "test_accuracy": 0.25}


class Clock:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def lines_of(
    caplog: pytest.LogCaptureFixture, steps: int, seconds_per_step: float, eval_every: int
) -> list[str]:
    caplog.set_level(logging.INFO)
    clock = Clock()
    progress = Progress("disent", steps, clock)
    for step in range(1, steps + 1):
        clock.seconds += seconds_per_step
        progress.on_step()
        if step % eval_every == 0:
            progress.on_evaluation(step, [ROW])
    return [f"{record.getMessage()}" for record in caplog.records]


def test_slow_steps_are_shown_before_the_first_evaluation(caplog: pytest.LogCaptureFixture) -> None:
    first, *others = lines_of(caplog, 90, 1.5, 90)
    assert first == "disent: step 5 of 90, 0.67 steps/s, 02:07 left"
    assert others[-1].endswith("valid 50.0%, test 25.0%")
    assert len(others) == 5


@pytest.mark.parametrize("eval_every", [1, 10, 4000])
def test_fast_steps_do_not_flood_a_file(caplog: pytest.LogCaptureFixture, eval_every: int) -> None:
    lines = lines_of(caplog, 4000, 1 / 40, eval_every)
    assert len(lines) <= 11
    assert lines[-1].startswith("disent: step 4000 of 4000, 40 steps/s, 00:00 left")


def test_the_rate_does_not_count_the_first_step(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    clock = Clock()
    progress = Progress("rwg", 50000, clock)
    progress.on_resume(39500, [])
    clock.seconds += 10.5
    progress.on_step()
    for _ in range(200):
        clock.seconds += 1 / 32
        progress.on_step()
    (record,) = caplog.records
    assert record.getMessage() == "rwg: step 39661 of 50000, 32 steps/s, 05:23 left"


def test_a_single_step_has_no_rate(caplog: pytest.LogCaptureFixture) -> None:
    assert lines_of(caplog, 1, 1.5, 1) == ["disent: step 1 of 1, valid 50.0%, test 25.0%"]
