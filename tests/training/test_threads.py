"""The number of threads of training steps."""

import logging
from contextlib import contextmanager

import pytest
import torch
from tiny_runs import brief, tiny_data, tiny_method, tiny_recipe

from debias_pipeline.methods import method_names
from debias_pipeline.training import TrainingThreads, limited_threads, threads, train
from debias_pipeline.training.run import TrainingServices
from debias_pipeline.training.stage import RunningStage

CPU = torch.device("cpu")
IDLE, BUSY = {1: 6.0, 2: 3.6, 4: 2.5}, {1: 15.0, 2: 48.0, 4: 90.0}


class Machine:
    """A stage on a machine with a clock of its own.

    Attributes:
        now: in milliseconds.
        times: number of threads → milliseconds of a step, at present.
        same: numbers of threads that compute the same.
    """

    def __init__(self, times, same=(1, 2, 4)):
        self.now, self.times, self.same, self.rehearsals = 0.0, times, same, 0

    def train_step(self, precision):
        self.now += self.times[torch.get_num_threads()]

    def rehearse(self, precision):
        self.rehearsals += 1
        group = self.same if torch.get_num_threads() in self.same else ()
        return [torch.tensor(float(len(group)))]


def step(chosen, machine):
    with chosen.chosen_for(machine, "fp32"):
        machine.train_step("fp32")


@pytest.fixture
def run(monkeypatch):
    """Make steps on a machine; return those made with each number of threads."""

    def run(machine, steps=500, chosen=None, most=2):
        with limited_threads(most):
            chosen = chosen or TrainingThreads("auto", CPU)
            before = chosen.steps.copy()
            monkeypatch.setattr(threads.time, "perf_counter", lambda: machine.now / 1000)
            for _ in range(steps):
                step(chosen, machine)
            monkeypatch.undo()
            return dict(chosen.steps - before)

    return run


def test_an_idle_machine_computes_with_all_threads_and_probes_cost_little(run):
    machine = Machine(IDLE)
    made = run(machine, 10_000)
    assert machine.now < 1.015 * 10_000 * IDLE[2]
    assert made[1] < 200


def test_a_busy_machine_computes_with_one_thread_and_probes_cost_little(run):
    machine = Machine(BUSY)
    run(machine, 10_000)
    assert machine.now < 1.02 * 10_000 * BUSY[1]


def test_the_number_follows_the_load(run):
    with limited_threads(2):
        chosen = TrainingThreads("auto", CPU)
    machine = Machine(IDLE)
    run(machine, 1000, chosen)
    machine.times = BUSY
    run(machine, 200, chosen)
    assert run(machine, 100, chosen).get(2, 0) < 10
    machine.times = IDLE
    run(machine, 3000, chosen)
    assert run(machine, 100, chosen)[2] > 80


def test_each_number_down_to_one_is_found_step_by_step(run):
    made = run(Machine({1: 2.0, 2: 4.0, 4: 8.0}), 5000, most=4)
    assert made[1] > 3000


def test_numbers_that_compute_something_else_are_never_used_and_slow_steps_are_told(run, caplog):
    with limited_threads(2):
        chosen = TrainingThreads("auto", CPU)
    machine = Machine(IDLE, same=(2,))
    assert run(machine, 1000, chosen) == {2: 1000}
    assert machine.rehearsals == 2 and not caplog.records
    machine.times = BUSY
    assert run(machine, 1000, chosen) == {2: 1000}
    (record,) = caplog.records
    assert "threads=1" in record.getMessage() and record.levelno == logging.WARNING


def test_a_change_is_told_once(run, caplog):
    caplog.set_level(logging.INFO)
    machine = Machine(BUSY)
    run(machine, 1000)
    (record,) = caplog.records
    assert "15.0 ms with 1 thread and 48.0 ms with 2 threads" in record.getMessage()


def test_numbers_are_rehearsed_again_in_the_next_stage(run):
    with limited_threads(2):
        chosen = TrainingThreads("auto", CPU)
    run(Machine(BUSY), 100, chosen)
    second = Machine(BUSY, same=(2,))
    assert run(second, 100, chosen) == {2: 100}
    assert second.rehearsals == 2


@pytest.mark.parametrize(("requested", "device"), [(2, "cpu"), ("auto", "cuda")])
def test_a_fixed_number_and_other_devices_are_not_adapted(run, requested, device):
    with limited_threads(2):
        chosen = TrainingThreads(requested, torch.device(device))
    assert run(Machine(BUSY), 100, chosen) == {2: 100}


def test_auto_never_takes_more_than_the_process_has():
    with limited_threads(1):
        assert TrainingThreads("auto", CPU).most == 1


def test_steps_are_counted_across_an_interruption():
    first, second = TrainingThreads(1, CPU), TrainingThreads(1, CPU)
    step(first, Machine(IDLE))
    second.load_state_dict(first.state_dict())
    step(second, Machine(IDLE))
    assert second.state_dict() == {"1": 2}
    assert second.summary() == "1 thread in 2 steps"


@pytest.mark.parametrize("method", method_names())
def test_a_rehearsal_changes_nothing(method):
    recipe, data = tiny_recipe(method, **brief(method)), tiny_data()

    def trained(rehearse):
        with pytest.MonkeyPatch.context() as patch:
            if rehearse:
                patch.setattr(TrainingThreads, "chosen_for", and_rehearse)
            return train(tiny_method(recipe, (0, 1)), recipe, data)

    rehearsed, plain = trained(True), trained(False)
    for ours, theirs in zip(rehearsed.checkpoints["last"], plain.checkpoints["last"], strict=True):
        assert all(torch.equal(ours.state[name], theirs.state[name]) for name in theirs.state)
    assert rehearsed.sample_weights.equals(plain.sample_weights)


@contextmanager
def and_rehearse(self, stage, precision):
    yield
    assert all(map(torch.equal, stage.rehearse(precision), stage.rehearse(precision)))


def test_a_rehearsal_tells_other_results_apart():
    recipe, data = tiny_recipe("disent"), tiny_data()
    method = tiny_method(recipe, (0,))
    services = TrainingServices(method, data, "fp32")
    stage = RunningStage(method, recipe, data, services, 0)
    stage.train_step("fp32")
    before = stage.rehearse("fp32")
    with torch.no_grad():
        next(method.parameters()).mul_(1 + 1e-6)
    assert not all(map(torch.equal, stage.rehearse("fp32"), before))
