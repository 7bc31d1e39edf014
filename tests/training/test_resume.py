"""An interrupted run that is continued ends as one that was never interrupted, bit for bit."""

import logging
import os
import signal
import subprocess
import sys
import threading

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from tiny_runs import augmented, tiny_data, tiny_method, tiny_recipe

from debias_pipeline.errors import UserError
from debias_pipeline.io.snapshots import SnapshotStore
from debias_pipeline.methods import method_names
from debias_pipeline.stopping import Stopped
from debias_pipeline.training import Snapshots, train

SEEDS = (0, 1)


class KilledError(Exception):
    """Stands for a kill: nothing is saved any more."""


class Listener:
    """Does something after a step; steps of a resumed run go on counting."""

    def __init__(self, at=None, action=None):
        self.done, self.at, self.action = 0, at, action
        self.resumed_at, self.resumed_rows = None, None

    def on_resume(self, step, rows):
        self.done = self.resumed_at = step
        self.resumed_rows = list(rows)

    def on_step(self):
        self.done += 1
        if self.done == self.at:
            self.action()

    def on_evaluation(self, step, rows):
        pass


def snapshots(folder, fingerprint=None):
    taken = Snapshots(SnapshotStore(str(folder), {}), fingerprint or {"seeds": [0, 1]})
    # Tiny runs are over before the cost of a snapshot allows for the next one.
    taken.due = lambda: True
    return taken


def run(recipe, folder=None, listener=None, **options):
    return train(
        tiny_method(recipe, SEEDS),
        recipe,
        tiny_data(),
        listeners=[listener] if listener else [],
        snapshots=snapshots(folder) if folder else None,
        **options,
    )


def interrupt():
    os.kill(os.getpid(), signal.SIGTERM)


def kill():
    raise KilledError


def assert_same(ours, theirs):
    assert ours.checkpoints.keys() == theirs.checkpoints.keys()
    assert ours.support == theirs.support
    assert ours.image_passes == theirs.image_passes
    assert ours.dead_units == theirs.dead_units
    for rule, kept in theirs.checkpoints.items():
        for mine, other in zip(ours.checkpoints[rule], kept, strict=True):
            assert mine.step == other.step
            assert mine.state.keys() == other.state.keys()
            assert all(torch.equal(mine.state[name], each) for name, each in other.state.items())
    speed = "images_per_second"
    pd.testing.assert_frame_equal(
        ours.history.drop(columns=speed), theirs.history.drop(columns=speed), check_exact=True
    )
    pd.testing.assert_frame_equal(ours.sample_weights, theirs.sample_weights, check_exact=True)


def steps_of(recipe):
    return sum(stage.steps for stage in tiny_method(recipe, SEEDS).stages())


@pytest.mark.parametrize("method", method_names())
def test_a_run_stopped_again_and_again_ends_as_one_that_was_not(method, tmp_path):
    recipe = tiny_recipe(method)
    whole, last = run(recipe), steps_of(recipe)
    # Within a window, at an evaluation, within the last window, after the last step.
    for at in (3, 10, last - 4, last):
        listener = Listener(at, interrupt)
        with pytest.raises(Stopped, match=f"step {at} of {last}") as stopped:
            run(recipe, tmp_path, listener)
        assert stopped.value.exit_code == 143
    listener = Listener()
    assert_same(run(recipe, tmp_path, listener), whole)
    assert listener.resumed_at == last


@pytest.mark.slow
def test_a_convolutional_run_with_augmentation_is_resumed_bit_for_bit(tmp_path):
    recipe = tiny_recipe("disent", **(augmented("disent") | {"steps": 4, "eval_every": 2}))
    with pytest.raises(Stopped):
        run(recipe, tmp_path, Listener(3, interrupt))
    assert_same(run(recipe, tmp_path), run(recipe))


@pytest.mark.slow
@pytest.mark.parametrize("at", [1, 13, 30])
def test_a_killed_run_continues_from_its_last_snapshot(at, tmp_path):
    recipe = tiny_recipe("disent")
    with pytest.raises(KilledError):
        run(recipe, tmp_path, Listener(at, kill))
    listener = Listener()
    assert_same(run(recipe, tmp_path, listener), run(recipe))
    assert listener.resumed_at == {1: None, 13: 10, 30: 20}[at]
    if at > 10:
        assert {row["step"] for row in listener.resumed_rows} == {*range(10, at, 10)}


def test_momentum_of_sgd_and_bf16_are_resumed(tmp_path):
    recipe = tiny_recipe("vanilla", optimiser="sgd", momentum=0.9, weight_decay=0.01)
    with pytest.raises(Stopped):
        run(recipe, tmp_path, Listener(14, interrupt), precision="bf16")
    assert_same(run(recipe, tmp_path, precision="bf16"), run(recipe, precision="bf16"))


def flip_a_byte(path):
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)


def truncate(path):
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.slow
@pytest.mark.parametrize("damage", [flip_a_byte, truncate])
def test_a_damaged_snapshot_is_set_aside_and_the_one_before_it_used(damage, tmp_path, caplog):
    recipe = tiny_recipe("disent")
    with pytest.raises(KilledError):
        run(recipe, tmp_path, Listener(25, kill))
    newest = max(tmp_path.rglob("*.safetensors"))
    damage(newest)
    listener = Listener()
    assert_same(run(recipe, tmp_path, listener), run(recipe))
    assert listener.resumed_at == 10
    assert newest.stem in caplog.text and "damaged" in caplog.text
    assert [path.name for path in tmp_path.rglob("*.damaged")] == [f"{newest.name}.damaged"]


def test_a_snapshot_of_other_settings_is_left_alone_and_the_difference_named(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    other = snapshots(tmp_path, {"recipe": {"steps": 3000, "lr": 0.1}, "seeds": [0]})
    other.save(7, {"a": torch.zeros(3)}, {})
    mine = snapshots(tmp_path, {"recipe": {"steps": 100, "lr": 0.1}, "seeds": [0]})
    assert mine.latest() is None
    assert "recipe.steps=3000, now 100" in caplog.text
    assert "lr" not in caplog.text
    mine.remove()
    assert other.latest().tensors["a"].tolist() == [0, 0, 0]


def test_snapshots_hold_any_tensor_and_not_a_number(tmp_path):
    taken = snapshots(tmp_path)
    tensors = {
        "scalar": torch.tensor(3.0), "empty": torch.empty(0, 2), "flags": torch.tensor([True]),
        "view": torch.arange(6).view(2, 3).T, "half": torch.ones(2, dtype=torch.bfloat16),
    }  # fmt: skip
    taken.save(12, tensors, {"value": float("nan"), "best": float("-inf")})
    found = taken.latest()
    assert all(torch.equal(found.tensors[name], each) for name, each in tensors.items())
    assert np.isnan(found.metadata["value"]) and found.metadata["best"] == float("-inf")


def test_two_snapshots_are_kept(tmp_path):
    taken = snapshots(tmp_path)
    for step in (1, 2, 30):
        taken.save(step, {"a": torch.zeros(1)}, {})
    assert [path.stem for path in sorted(tmp_path.rglob("*.safetensors"))] == [
        "step-000000002", "step-000000030",
    ]  # fmt: skip


def test_snapshots_wait_until_training_has_taken_a_hundred_times_as_long(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("debias_pipeline.training.snapshot.time.perf_counter", lambda: now[0])
    taken = Snapshots(SnapshotStore(str(tmp_path), {}), {})
    assert taken.due()
    write = taken._folder.write

    def slow_write(*arguments):
        write(*arguments)
        now[0] += 2

    monkeypatch.setattr(taken._folder, "write", slow_write)
    taken.save(1, {"a": torch.zeros(1)}, {})
    now[0] = 201.9
    assert not taken.due()
    now[0] = 202.0
    assert taken.due()


def test_a_snapshot_that_cannot_be_written_is_one_warning_and_training_goes_on(tmp_path, caplog):
    recipe, folder = tiny_recipe("disent"), tmp_path / "snapshots"
    folder.write_text("a file where a folder should be")
    assert_same(run(recipe, folder), run(recipe))
    warnings = [each for each in caplog.messages if str(folder) in each]
    assert len(warnings) == 1
    assert "training goes on" in warnings[0]


def test_a_stopped_run_does_not_promise_a_snapshot_that_could_not_be_written(tmp_path):
    folder = tmp_path / "snapshots"
    folder.write_text("a file where a folder should be")
    with pytest.raises(Stopped, match="could not be written"):
        run(tiny_recipe("vanilla"), folder, Listener(3, interrupt))


def test_the_snapshot_before_stays_where_the_next_cannot_be_written(tmp_path, monkeypatch):
    taken = snapshots(tmp_path)
    assert taken.save(1, {"a": torch.zeros(1)}, {})

    def full(*arguments, **options):
        raise SafetensorError("No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    assert not taken.save(2, {"a": torch.ones(1)}, {})
    assert taken.latest().tensors["a"].tolist() == [0]
    assert not [*tmp_path.rglob(".*.tmp")]


def test_temporary_files_of_a_killed_process_are_removed(tmp_path):
    taken = snapshots(tmp_path)
    taken.save(1, {"a": torch.zeros(1)}, {})
    (path,) = tmp_path.rglob("*.safetensors")
    # Of this project, and of the library that writes the file.
    leftovers = [path.with_name(name) for name in (f".{path.name}.0123abcd.tmp", ".tmpMI941T")]
    for leftover in leftovers:
        leftover.write_bytes(b"half of a snapshot")
    assert taken.latest().tensors["a"].tolist() == [0]
    with taken.exclusive():
        assert path.exists()
        assert not any(leftover.exists() for leftover in leftovers)


HOLDER = """
import sys
from debias_pipeline.io.snapshots import SnapshotStore
with SnapshotStore(sys.argv[1], {}).exclusive("0123abcd"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.mark.slow
def test_a_second_process_with_the_same_settings_is_refused_until_the_first_ends(tmp_path):
    store = SnapshotStore(str(tmp_path), {})
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as holder:  # fmt: skip
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(UserError, match="Another process"), store.exclusive("0123abcd"):
            pass
        with store.exclusive("another1"):
            pass
        holder.kill()
        holder.wait()
    with store.exclusive("0123abcd"):
        pass


def test_without_snapshots_a_stopped_run_says_that_nothing_is_saved():
    with pytest.raises(Stopped, match=r"nothing .* saved"):
        run(tiny_recipe("vanilla"), None, Listener(3, interrupt))


def test_a_second_signal_ends_a_run_at_once(tmp_path):
    def twice():
        interrupt()
        interrupt()

    with pytest.raises(Stopped):
        run(tiny_recipe("vanilla"), tmp_path, Listener(3, twice))
    assert not [*tmp_path.rglob("*.safetensors")]


def test_the_handlers_of_signals_are_as_before_after_training():
    before = signal.getsignal(signal.SIGTERM)
    run(tiny_recipe("vanilla", steps=2))
    assert signal.getsignal(signal.SIGTERM) is before


def test_training_in_another_thread_needs_no_signals(tmp_path):
    results = []
    recipe = tiny_recipe("vanilla")
    thread = threading.Thread(target=lambda: results.append(run(recipe, tmp_path)))
    thread.start()
    thread.join()
    assert_same(results[0], run(recipe))


def test_a_snapshot_is_a_plain_safetensors_file(tmp_path):
    with pytest.raises(Stopped):
        run(tiny_recipe("vanilla"), tmp_path, Listener(3, interrupt))
    (path,) = tmp_path.rglob("*.safetensors")
    assert any(name.startswith("optimiser", 6) for name in load_file(path))
