"""Nodes on Dask workers: where they run, what they save, and how failures are reported."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import pandas as pd
import pieces
import psutil
import pytest
import torch
from distributed import Scheduler, SpecCluster, Worker
from kedro.framework.project import configure_project
from kedro.io import DataCatalog, MemoryDataset, Version
from kedro.pipeline import Pipeline, node
from kedro.runner import SequentialRunner
from kedro.utils import load_obj
from kedro.validation.exceptions import DataValidationError

from debias_pipeline.errors import UserError
from debias_pipeline.grid import ALL_DONE
from debias_pipeline.hooks import PreflightHooks
from debias_pipeline.io import AtomicJSONDataset
from debias_pipeline.runners import DaskRunner
from forked import ForkedProcess, execute, fork_workers_of_dask

HERE = Path(__file__).parent
ADDRESS = "DASK_SCHEDULER_ADDRESS"


def two_workers() -> SpecCluster:
    """A cluster in this process; of its two workers one says that it has a GPU."""
    options = {"nthreads": 1, "dashboard_address": None}
    return SpecCluster(
        scheduler={"cls": Scheduler, "options": {"dashboard": False, "protocol": "inproc"}},
        workers={
            "plain": {"cls": Worker, "options": options},
            "with GPU": {"cls": Worker, "options": {**options, "resources": {"GPU": 1}}},
        },
        silence_logs=False,
    )


@pytest.fixture(scope="module")
def workers() -> Iterator[str]:
    with two_workers() as cluster:
        yield cluster.scheduler_address


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    configure_project("debias_pipeline")
    return tmp_path


@pytest.fixture
def joined(workers: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv(ADDRESS, workers)
    return workers


def catalog(**files: Any) -> DataCatalog:
    """Datasets by name: a value in memory, or JSON files for those that are None."""
    return DataCatalog(
        {
            name: AtomicJSONDataset(filepath=str(Path(f"{name}.json").absolute()))
            if value is None
            else value
            if isinstance(value, AtomicJSONDataset | pieces.Unseen | MemoryDataset)
            else MemoryDataset(value)
            for name, value in files.items()
        }
    )


def run(*nodes: Any, data: DataCatalog, **options: Any) -> None:
    DaskRunner(**options).run(Pipeline([*nodes]), data, run_id="run")


def read(name: str) -> Any:
    return json.loads(Path(f"{name}.json").read_text())


def test_nodes_wait_for_what_they_need(joined: str):
    data = catalog(a=1, b=None, c=None, d=None)
    chain = [node(pieces.double, f, t, name=t) for f, t in [("a", "b"), ("b", "c"), ("c", "d")]]
    run(*chain, data=data)
    assert [read(name) for name in "bcd"] == [2, 4, 8]


def test_a_node_that_computes_on_cuda_goes_to_a_worker_with_a_gpu(joined: str):
    data = catalog(**{"params:device": "cuda", "at": None, "at_too": None})
    run(
        node(pieces.worker_name, "params:device", "at", name="first"),
        node(pieces.worker_name, "params:device", "at_too", name="second"),
        data=data,
    )
    assert [read("at"), read("at_too")] == ["cuda on with GPU"] * 2


def test_threads_are_those_of_the_runner_or_those_of_the_parameters(joined: str):
    before = torch.get_num_threads()
    count = node(pieces.threads, "device", "threads", name="count")
    try:
        run(count, data=catalog(device="cpu", threads=None), threads=3)
        assert read("threads") == 3
        for name in ("params:threads", "params:benchmark.threads"):
            fixed = node(pieces.threads, ["device", name], "threads", name="fixed")
            run(fixed, data=catalog(device="cpu", threads=None, **{name: 2}))
            assert read("threads") == 2
            Path("threads.json").unlink()
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("function", "error", "message"),
    [
        (pieces.refuse, UserError, "percent=0: choose more than 0"),
        (pieces.fail_stubbornly, RuntimeError, "stubborn failure"),
    ],
)
def test_an_error_is_handed_to_the_caller(joined: str, function: Any, error: Any, message: str):
    data = catalog(a=1, b=None, c=None)
    with pytest.raises(error, match=message) as caught:
        run(node(function, "a", "b"), node(pieces.double, "b", "c"), data=data)
    assert not Path("c.json").exists()
    if error is RuntimeError:
        assert "fail_stubbornly" in caught.value.__notes__[0]


def test_a_validator_holds_on_workers_too(joined: str):
    entries = {
        name: {"type": "pandas.ParquetDataset", "filepath": f"{name}.parquet"}
        for name in ("raw", "manifest")
    }
    entries["manifest"]["validator"] = "debias_pipeline.biased_data.manifest.Manifest"
    data = DataCatalog.from_config(entries)
    data.save("raw", pd.DataFrame({"image_id": [0]}))
    with pytest.raises(DataValidationError, match="split"):
        run(node(pieces.same, "raw", "manifest"), data=data)
    assert not Path("manifest.parquet").exists()


def test_trials_on_workers_fail_alone_and_with_their_data(joined: str):
    methods, settings = ("disent", "vanilla"), ("cmnist_1pct", "cmnist_2pct")
    benchmark = {"datasets": ["cmnist"], "percents": ["1pct", "2pct"], "methods": [*methods]}
    grid = {"seed": 0, "seeds": 1, "precision": "fp32", "threads": "auto"}
    method = {"recipe": {"steps": 1}, "published_accuracy": []}
    parameters: dict[str, Any] = {"benchmark": {**benchmark, **grid}} | {
        setting: {
            **dict.fromkeys(["data_folder", "images_folder"], setting),
            **dict.fromkeys(methods, method),
        }
        for setting in settings
    }
    # One setting cannot be made, and one method cannot be trained.
    data = catalog(parameters=MemoryDataset(parameters), a=1, leaderboard=None)
    nodes = []
    for setting, build in zip(settings, (pieces.double, pieces.refuse), strict=True):
        images = f"{setting}.images"
        nodes.append(node(build, "a", images, name="build", namespace=setting, tags=["data"]))
        for name, train in zip(methods, (pieces.double, pieces.refuse), strict=True):
            outcome = f"{setting}.{name}.outcome"
            nodes.append(node(train, images, outcome, name="train", namespace=outcome[:-8]))
            data[outcome] = AtomicJSONDataset(filepath=str(Path(f"{outcome}.json").absolute()))
        data[images] = AtomicJSONDataset(filepath=str(Path(f"{images}.json").absolute()))
    outcomes = sorted(name for each in nodes for name in each.outputs if "outcome" in name)
    ranking = node(pieces.listed, outcomes, "leaderboard", name="rank", tags=[ALL_DONE])
    run(*nodes, ranking, data=data)
    done, *failed = read("leaderboard")
    assert done == 4
    assert [each["status"] for each in failed] == ["failed"] * 3
    of_data = "percent=0: choose more than 0"
    errors = [each["error"] for each in failed]
    assert errors == ["RuntimeError: while loading", of_data, of_data]


def test_what_stays_in_memory_is_refused(joined: str):
    data = catalog(a=1, b=MemoryDataset(), c=None)
    with pytest.raises(UserError, match=r"^b is kept in memory.* conf/base/catalog.yml$"):
        run(node(pieces.double, "a", "b"), node(pieces.double, "b", "c"), data=data)


def test_outputs_that_this_machine_does_not_see_are_told(joined: str):
    with pytest.raises(
        UserError, match=r"^b, saved by .* does not exist on this machine; use a file system"
    ):
        run(node(pieces.double, "a", "b"), data=catalog(a=1, b=pieces.Unseen()))


def test_a_version_that_a_killed_attempt_has_saved_is_replaced(joined: str):
    path = Path("b.json").absolute()
    (path / "now").mkdir(parents=True)
    (path / "now" / "b.json").write_text("1")
    versioned = AtomicJSONDataset(filepath=str(path), version=Version(None, "now"))
    run(node(pieces.double, "a", "b"), data=catalog(a=21, b=versioned))
    assert json.loads((path / "now" / "b.json").read_text()) == 42


def test_no_scheduler_at_the_address(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(ADDRESS, "tcp://127.0.0.1:9")
    monkeypatch.setattr("debias_pipeline.runners.cluster._TIMEOUT", 0.5)
    with pytest.raises(UserError, match=r"No Dask scheduler answers at .*127\.0\.0\.1:9"):
        run(node(pieces.double, "a", "b"), data=catalog(a=1, b=None))


def test_devices_are_looked_for_where_nodes_run(monkeypatch: pytest.MonkeyPatch):
    params = {"device": "cuda", "pretrained": "", "recipe": {}}
    data = DataCatalog({"parameters": MemoryDataset(params)})
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    def check(runner: Any, address: str) -> None:
        monkeypatch.setenv(ADDRESS, address)
        told = {"pipeline_names": ["ingestion"], "runtime_params": {}, "runner": str(runner)}
        told |= {"load_versions": {}}
        PreflightHooks().before_pipeline_run(told, Pipeline([]), data)

    check(DaskRunner(), "tcp://elsewhere:8786")
    for runner, address in ((DaskRunner(), ""), (SequentialRunner(), "tcp://elsewhere:8786")):
        with pytest.raises(UserError, match="device=cuda is not available on this machine"):
            check(runner, address)


def test_ordinary_runs_start_without_dask():
    loaded = "import sys, debias_pipeline.settings; print('distributed' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1:] == ["False"], done.stdout + done.stderr


@pytest.mark.parametrize("options", [{"workers": 0}, {"threads": "two"}])
def test_numbers_that_are_none_are_refused(options: dict[str, Any]):
    with pytest.raises(UserError, match=r"=(0|two) .*not a positive .*--runner-params="):
        DaskRunner(**options)


def test_the_remedy_is_named_where_dask_is_missing(monkeypatch: pytest.MonkeyPatch):
    for name in [name for name in sys.modules if name.startswith("debias_pipeline.runners")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(UserError, match=r'pip install "debias-pipeline\[dask\]"'):
        load_obj("debias_pipeline.runners.DaskRunner")


# --- Processes that end -------------------------------------------------------------------------


def test_a_node_that_kills_its_workers_is_given_up_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.delenv(ADDRESS, raising=False)
    data = catalog(a=1, dead=None, after=None, b=None, c=None)
    nodes = (
        node(pieces.die, "a", "dead", name="deadly"),
        node(pieces.double, "dead", "after"),
        node(pieces.double, "a", "b"),
        node(pieces.double, "b", "c"),
    )
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0, **fork_workers_of_dask()}),
        pytest.raises(UserError, match=r"died that ran deadly, .*--runner-params=workers=1"),
    ):
        run(*nodes, data=data, workers=1)
    assert read("c") == 4
    assert not Path("dead.json").exists()
    assert not Path("after.json").exists()


def test_a_worker_that_is_closed_stops_training_and_another_continues(
    project: Path, monkeypatch: pytest.MonkeyPatch
):
    with two_workers() as cluster:

        def close_one() -> None:
            wait_for(project / "asleep")
            cluster.sync(cluster.workers[(project / "trains").read_text()].close)

        monkeypatch.setenv(ADDRESS, cluster.scheduler_address)
        closing = threading.Thread(target=close_one)
        closing.start()
        run(node(pieces.train_elsewhere, "a", "names"), data=catalog(a=1, names=None))
        closing.join()
    assert sorted(read("names")) == ["plain", "with GPU"]


SLOW = """
from kedro.framework.project import configure_project
import pieces
from test_dask_runner import catalog, node, run

configure_project("debias_pipeline")
first = node(pieces.double, "a", "b", name="first")
second = node(pieces.sleep, "b", "c", name="second")
run(first, second, data=catalog(a=1, b=None, c=None), workers=1)
"""
DASK = "from distributed.cli.dask_{} import main; main()"


def wait_for(path: Path, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} does not appear"
        time.sleep(0.1)


def start(code: str, *arguments: str, **environment: str) -> ForkedProcess:
    changed = {**os.environ, **environment}
    return ForkedProcess(execute, code, *arguments, output=Path("log"), environment=changed)


def test_a_scheduler_that_goes_away_ends_the_run_and_what_is_saved_stays(project: Path):
    options = ("--port=0", "--no-dashboard", "--scheduler-file=scheduler.json")
    scheduler = start(DASK.format("scheduler"), *options)
    wait_for(project / "scheduler.json")
    address = read("scheduler")["address"]
    options = (address, "--nthreads=1", "--no-dashboard", "--no-nanny")
    worker = start(DASK.format("worker"), *options)
    driver = start(SLOW, **{ADDRESS: address})
    try:
        wait_for(project / "asleep")
        scheduler.send_signal(signal.SIGKILL)
        assert driver.wait(60) == 1
        told = Path("log").read_text()
        assert "UserError: The Dask scheduler has stopped" in told
        assert "--only-missing-outputs" in told
        assert read("b") == 2
    finally:
        for process in (scheduler, worker, driver):
            process.kill_all()


def test_ctrl_c_stops_training_and_takes_the_workers_of_this_machine_along(project: Path):
    driver = start(SLOW.replace("sleep", "train_elsewhere"), **{ADDRESS: ""})
    wait_for(project / "asleep")
    workers = psutil.Process(driver.pid).children(recursive=True)
    assert workers
    os.killpg(driver.pid, signal.SIGINT)  # as a terminal does
    assert driver.wait(60) != 0
    told = Path("log").read_text()
    assert told.count("Traceback") <= 1, told
    assert "Stopped after step 5" in told
    _, alive = psutil.wait_procs(workers, timeout=10)
    assert not alive
