"""Runs that are really killed or stopped, or that find no room, and the same command typed again.

`KILLS=10 pytest tests/integration/test_interruptions.py` kills more often, and all settings.
"""

import os
import random
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from forked_kedro import ForkedKedro
from throwaway_project import Outcome, Project, make_project

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("KILLS", "2"))
# Snapshots are saved at evaluations, and each kill repeats a few steps.
SEEDS, STEPS, EVAL_EVERY = (3, 150, 5) if "KILLS" in os.environ else (2, 60, 4)
# Sums in another order are other results, hence one thread.
SHORT: dict[str, Any] = {
    "seeds": SEEDS, "device": "cpu", "threads": 1, "recipe__batch_size": 32,
    "recipe__steps": STEPS, "recipe__eval_every": EVAL_EVERY,
}  # fmt: skip
SETTINGS: dict[str, tuple[str, dict[str, Any]]] = {
    "disent": (
        "disent",
        {**SHORT, "recipe__swap_start": 2 * STEPS // 5, "recipe__decay_every": STEPS // 5},
    ),
    "jtt": ("jtt", {**SHORT, "recipe__first_steps": 40}),
    "resnet20 with augmentation": (
        "vanilla",
        {
            **SHORT,
            "recipe__network": "resnet20",
            "recipe__crop_padding": 2,
            "recipe__flip": "true",
            "recipe__steps": 24,
            "recipe__eval_every": 3,
        },
    ),
}
RESULTS = (
    "checkpoint.safetensors",
    "sample_weights.parquet",
    "predictions.parquet",
    "metrics.json",
    "group_accuracy.parquet",
)
CONTINUES = re.compile(r"continues after step (\d+)")
STOPPED = re.compile(r"Stopped after step (\d+)")


def of(method: str) -> tuple[str, str]:
    """The command line of a method without its figures and reports, which are made last."""
    return f"--pipeline={method}", f"--to-nodes={method}.evaluate"


# --- Signs of life --------------------------------------------------------------------------------


def files(project: Project, folder: str = "") -> list[Path]:
    """All files under data/, also while others create and remove them."""
    walked = os.walk(project.path / "data" / folder)
    return [Path(parent, name) for parent, _, names in walked for name in names]


def in_snapshots(project: Project) -> set[Path]:
    return {path for path in files(project, "06_models") if "snapshots" in path.parts}


def snapshots(project: Project) -> set[Path]:
    return {path for path in in_snapshots(project) if path.match("step-*.safetensors")}


def outputs_of_training(project: Project) -> list[Path]:
    found = files(project, "06_models") + files(project, "07_model_output")
    return [path for path in found if "snapshots" not in path.parts]


def wait_for(sign: Callable[[], Any], process: ForkedKedro) -> bool:
    """Wait for a sign; return False if the process ended without one."""
    while process.poll() is None:
        if sign():
            return True
        time.sleep(0.001)
    return False


def kill(process: ForkedKedro) -> None:
    """Kill a command and all processes that it has started."""
    process.kill_all()


# --- What has to be the same ----------------------------------------------------------------------


def results(project: Project) -> dict[str, bytes]:
    """The results by their place: all but the versions that are not the latest."""
    found = {}
    for name in RESULTS:
        for path in project.files(f"*/cmnist_mini/**/{name}/*/{name}"):
            found[str(path.parents[1].relative_to(project.path))] = path.read_bytes()
    return found


def histories(project: Project) -> dict[str, pd.DataFrame]:
    return {
        # Speed is what was measured on a clock.
        str(path.parents[1].relative_to(project.path)): pd.read_parquet(path).drop(
            columns="images_per_second"
        )
        for path in project.files("07_model_output/cmnist_mini/**/history.parquet/*/*.parquet")
    }


def assert_same_results(ours: Project, theirs: Project) -> None:
    mine, others = results(ours), results(theirs)
    assert mine.keys() == others.keys() and mine
    assert [name for name in mine if mine[name] != others[name]] == []
    my_histories, other_histories = histories(ours), histories(theirs)
    assert my_histories.keys() == other_histories.keys() and my_histories
    for name, history in my_histories.items():
        pd.testing.assert_frame_equal(history, other_histories[name], check_exact=True)
    assert not in_snapshots(ours)


def statuses(project: Project) -> list[str]:
    """How the MLflow runs ended, the earliest first."""
    return [run.info.status for run in reversed(project.mlflow_runs())]


def succeeded(outcome: Outcome) -> Outcome:
    assert outcome.exit_code == 0, outcome.stdout + outcome.stderr
    return outcome


def said(outcome: Outcome) -> str:
    """The single line of an error."""
    assert outcome.exit_code == 1, outcome.stdout + outcome.stderr
    (line,) = [each for each in outcome.stderr.splitlines() if each.startswith("Error: ")]
    assert "Traceback" not in outcome.stdout + outcome.stderr
    return line


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Project]:
    """A function that returns what a run of a setting leaves that nothing has interrupted."""
    projects: dict[str, Project] = {}

    def run(setting: str) -> Project:
        if setting not in projects:
            project = make_project(tmp_path_factory.mktemp("whole") / "project")
            method, params = SETTINGS[setting]
            succeeded(project.run(*of(method), **params))
            projects[setting] = project
        return projects[setting]

    return run


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


Start = Callable[..., ForkedKedro]


@pytest.fixture
def start(empty_project: Project, log: Path) -> Iterator[Start]:
    """A function that starts `kedro run` in `empty_project`; in the end nothing runs any more."""
    started = []

    def start_kedro(*arguments: str, **params: Any) -> ForkedKedro:
        started.append(empty_project.start_kedro(*arguments, output=log, **params))
        return started[-1]

    yield start_kedro
    for process in started:
        kill(process)


# --- SIGKILL --------------------------------------------------------------------------------------


def kill_while_training(project: Project, process: ForkedKedro, chance: random.Random) -> bool:
    before = snapshots(project)
    if not wait_for(lambda: snapshots(project) - before, process):
        return False
    time.sleep(chance.uniform(0, 0.3))
    return process.poll() is None


def kill_while_writing_a_snapshot(
    project: Project, process: ForkedKedro, chance: random.Random
) -> bool:
    del chance
    before = in_snapshots(project)
    return wait_for(
        lambda: any(".tmp" in path.name for path in in_snapshots(project) - before), process
    )


def kill_while_saving_outputs(
    project: Project, process: ForkedKedro, chance: random.Random
) -> bool:
    before, more = len(outputs_of_training(project)), chance.randint(1, 3)
    return wait_for(lambda: len(outputs_of_training(project)) >= before + more, process)


def moments(kills: int) -> list[Callable[..., bool]]:
    """When to kill: outputs are saved at the end, so the last kills wait for that."""
    while_saving = max(1, kills // 4)
    early = [kill_while_writing_a_snapshot, kill_while_training]
    return [early[number % 2] for number in range(kills - while_saving)] + [
        kill_while_saving_outputs
    ] * while_saving


@pytest.mark.parametrize("setting", SETTINGS if "KILLS" in os.environ else ["disent"])
def test_a_run_killed_again_and_again_ends_as_one_that_was_not(
    setting: str,
    uninterrupted: Callable[[str], Project],
    empty_project: Project,
    start: Start,
    log: Path,
) -> None:
    method, params = SETTINGS[setting]
    chance, project = random.Random(7), empty_project
    for moment in moments(KILLS):
        process = start(*of(method), **params)
        killed = moment(project, process, chance)
        kill(process)
        left = [path for path in files(project) if ".tmp" in path.name]
        steps = sorted(int(path.stem.removeprefix("step-")) for path in snapshots(project))
        print(
            f"{setting}: {moment.__name__}: {'killed' if killed else 'ended before'}, "
            f"snapshots of steps {steps}, outputs {len(outputs_of_training(project))}, "
            f"half-written {[path.name for path in left]}"
        )
        assert killed, log.read_text()
    done = succeeded(project.kedro(*of(method), **params))
    print(f"{setting}: continued after steps {CONTINUES.findall(log.read_text() + done.stdout)}")
    assert CONTINUES.search(done.stdout)
    assert_same_results(project, uninterrupted(setting))
    # An MLflow run that was killed before its first value may not be known to MLflow.
    assert set(statuses(project)) == {"KILLED", "FINISHED"}


# --- SIGTERM, Ctrl-C ------------------------------------------------------------------------------


def test_a_run_stopped_by_sigterm_and_by_ctrl_c_continues(
    uninterrupted: Callable[[str], Project], empty_project: Project, start: Start, log: Path
) -> None:
    (method, params), project = SETTINGS["disent"], empty_project
    for number, exit_code in ((signal.SIGTERM, 143), (signal.SIGINT, 130)):
        before = snapshots(project)
        process = start(*of(method), **params)
        assert wait_for(lambda before=before: snapshots(project) - before, process)
        process.send_signal(number)
        assert process.wait() == exit_code, log.read_text()
        *_, line = log.read_text().splitlines()
        assert "a snapshot is saved" in line and "same command again" in line
        assert statuses(project)[-1] == "KILLED"
    done = succeeded(project.run(*of(method), **params))
    assert CONTINUES.search(done.stdout)
    assert_same_results(project, uninterrupted("disent"))
    assert statuses(project) == ["KILLED", "KILLED", "FINISHED"]


def test_a_second_run_of_the_same_settings_stops_at_once(
    uninterrupted: Callable[[str], Project], empty_project: Project, start: Start, log: Path
) -> None:
    (method, params), project = SETTINGS["disent"], empty_project
    process = start(*of(method), **params)
    assert wait_for(lambda: snapshots(project), process)
    os.kill(process.pid, signal.SIGSTOP)  # so that it is not over before the second begins
    line = said(project.run(*of(method), **params))
    os.kill(process.pid, signal.SIGCONT)
    assert "Another process trains with the same settings" in line
    assert process.wait() == 0, log.read_text()
    assert_same_results(project, uninterrupted("disent"))


# --- The snapshots of another run, or none --------------------------------------------------------


@pytest.fixture(scope="module")
def killed_twice(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with a run of SETTINGS["disent"] that was killed twice. Tests take a copy."""
    project = make_project(tmp_path_factory.mktemp("killed") / "project")
    method, params = SETTINGS["disent"]
    for count in (1, 2):
        process = project.start_kedro(*of(method), **params)
        try:
            assert wait_for(lambda count=count: len(snapshots(project)) == count, process)
        finally:
            kill(process)
    return project


@pytest.fixture
def stopped(killed_twice: Project, tmp_path: Path) -> Project:
    return killed_twice.copy(tmp_path / "project")


def test_what_else_a_killed_run_leaves_is_used_or_harmless(
    stopped: Project, uninterrupted: Callable[[str], Project]
) -> None:
    method, params = SETTINGS["disent"]
    newest = max(snapshots(stopped))
    # Another run of other settings: it says what differs, and leaves the snapshots alone.
    other = {**params, "recipe__steps": 10}
    done = succeeded(stopped.run(*of(method), **other))
    assert f"recipe.steps={STEPS}, now 10" in " ".join(done.stdout.split())
    assert newest in snapshots(stopped)
    # A damaged snapshot: the one before it is used.
    newest.write_bytes(newest.read_bytes()[:-1])
    (newest.parent / f".{newest.name}.0123abcd.tmp").write_bytes(b"half of a snapshot")
    done = succeeded(stopped.run(*of(method), **params))
    words = " ".join(done.stdout.split())
    assert f"Snapshot {newest.stem}" in words and "is damaged" in words
    assert CONTINUES.search(words)
    assert_same_results(stopped, uninterrupted("disent"))


def test_resume_false_starts_over(stopped: Project, uninterrupted: Callable[..., Project]) -> None:
    method, params = SETTINGS["disent"]
    done = succeeded(stopped.run(*of(method), **params, resume="false"))
    assert not CONTINUES.search(done.stdout)
    assert_same_results(stopped, uninterrupted("disent"))


# --- No room --------------------------------------------------------------------------------------


@contextmanager
def mounted(path: Path, options: str) -> Iterator[None]:
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("needs the command mount: apt install mount")
    if done.returncode:
        pytest.skip(f"needs root, to mount a file system: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


@pytest.fixture
def small_disk(empty_project: Project) -> Iterator[Project]:
    """A project whose data/ has 120 MB, with a data set and earlier results."""
    with mounted(empty_project.path / "data", "size=120m"):
        (empty_project.path / "data/01_raw").mkdir()
        method, params = SETTINGS["disent"]
        short = {**params, "recipe__steps": 10}
        succeeded(empty_project.run(*of(method), **short))
        yield empty_project


def fill(project: Project) -> Path:
    """Fill the disk of a project's data/."""
    path = project.path / "data/filler"
    with path.open("wb", buffering=0) as file:
        try:
            for size in (2**20, 2**12):
                while file.write(bytes(size)) == size:
                    pass
        except OSError:
            while True:
                try:
                    file.write(bytes(2**12))
                except OSError:
                    return path
    return path


def test_a_full_disk_costs_no_training_but_its_results(small_disk: Project) -> None:
    method, params = SETTINGS["disent"]
    before = small_disk.results()
    filler = fill(small_disk)
    outcome = small_disk.run(*of(method), f"--from-nodes={method}.train", **params)
    line = said(outcome)
    assert "No space left" in line and "checkpoint" in line
    words = " ".join(outcome.stdout.split())
    assert words.count("training goes on") == 1
    assert f"step {STEPS} of {STEPS}" in words
    filler.unlink()
    assert small_disk.results() == before
    assert statuses(small_disk)[-1] == "FAILED"


def test_results_that_find_no_room_are_made_again_from_the_last_snapshot(
    small_disk: Project, uninterrupted: Callable[[str], Project]
) -> None:
    method, params = SETTINGS["disent"]
    before = small_disk.results()
    fillers: list[Path] = []

    def fill_after_a_snapshot() -> None:
        while not snapshots(small_disk):
            time.sleep(0.001)
        fillers.append(fill(small_disk))

    thread = threading.Thread(target=fill_after_a_snapshot, daemon=True)
    thread.start()
    command = (*of(method), f"--from-nodes={method}.train")
    assert "No space left" in said(small_disk.run(*command, **params))
    thread.join()
    fillers[0].unlink()
    assert snapshots(small_disk)
    assert {*small_disk.results().items()} >= {*before.items()}
    done = succeeded(small_disk.run(*command, **params))
    assert CONTINUES.search(done.stdout)
    assert_same_results(small_disk, uninterrupted("disent"))


def test_a_read_only_project_is_refused_before_training(empty_project: Project) -> None:
    with mounted(empty_project.path / "data", "size=1m,ro"):
        outcome = empty_project.run("--pipeline=disent", **SHORT)
        line = said(outcome)
    assert f"{empty_project.path}/data is read-only" in line
    assert "conf/local/globals.yml" in line
    assert not empty_project.mlflow_runs()


# --- The grid -------------------------------------------------------------------------------------

GRID = {
    "device": "cpu",
    "benchmark.methods": "disent",
    "benchmark.percents": "2pct+5pct",
    "benchmark.seeds": 2,
    "benchmark.threads": 1,
    "benchmark.overrides.batch_size": 32,
    "benchmark.overrides.steps": 120,
    "benchmark.overrides.eval_every": 10,
    "benchmark.overrides.swap_start": 48,
}
BENCHMARK = "--pipeline=benchmark"
TWO_WORKERS = (
    "--runner=debias_pipeline.runners.DaskRunner", "--runner-params=workers=2,threads=1",
)  # fmt: skip


def test_a_grid_with_two_dask_workers_killed_and_stopped_ends_as_one_that_was_not(
    empty_project: Project, start: Start, tmp_path: Path, log: Path
) -> None:
    whole, project = make_project(tmp_path / "whole"), empty_project
    succeeded(whole.run(BENCHMARK, **GRID))
    command = (BENCHMARK, *TWO_WORKERS, "--only-missing-outputs")

    def interrupted_when(sign: Callable[[], Any], how: signal.Signals) -> int:
        process = start(*command, **GRID)
        assert wait_for(sign, process), log.read_text()
        if how == signal.SIGKILL:
            kill(process)
        else:
            process.send_signal(how)
        return process.wait()

    def trials() -> set[str]:
        return {path.parents[4].name for path in snapshots(project)}

    assert interrupted_when(lambda: trials() == {"2pct", "5pct"}, signal.SIGKILL) == -9
    before = snapshots(project)
    assert interrupted_when(lambda: snapshots(project) - before, signal.SIGTERM) == 143
    # Multiprocessing may print a warning after it.
    (line,) = [each for each in log.read_text().splitlines() if each.startswith("Stopped by")]
    assert "same command" in line and "continues" in line
    stopped = STOPPED.findall(" ".join(log.read_text().split()))
    left = trials()
    assert left and stopped
    done = succeeded(project.kedro(*command, **GRID))
    continued = CONTINUES.findall(" ".join(done.stdout.split()))
    assert len(continued) == len(left), done.stdout
    assert set(stopped) <= set(continued), log.read_text() + done.stdout
    assert_same_results(project, whole)
