"""Which packages commands import; `make bench ARGS="--only packages"` measures the time."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks.runs import FIRST_STEP, throwaway_project

PROJECT = Path(__file__).parents[1]
# They take a tenth of a second or more each.
SLOW = {
    "captum", "dask", "matplotlib", "mlflow", "pandas", "pandera", "pyarrow", "scipy.ndimage",
    "scipy.stats", "sklearn", "torch", "torchvision",
}  # fmt: skip
# A command of Kedro, and then the names of all modules that it imported.
COMMAND = """
import sys
from kedro.framework.cli import main
sys.argv = ["kedro", "run", *sys.argv[1:]]
try:
    main()
finally:
    print("imported:", *sys.modules)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("argument", "code", "message"),
    [("--help", 0, "--dry-run"), ("--params=dataset=nope", 1, "Unknown dataset 'nope'")],
)
def test_help_and_parameter_errors_import_no_slow_package(argument, code, message):
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, argument], cwd=PROJECT, capture_output=True, text=True
    )
    output, _, imported = done.stdout.partition("imported:")
    assert (done.returncode, message in output + done.stderr) == (code, True), done.stderr
    assert not SLOW & set(imported.split())


def test_commands_of_kedro_mlflow_are_there():
    import click

    from debias_pipeline.plugins import _DeferredCommands

    commands = _DeferredCommands("Mlflow")
    context = click.Context(commands)
    assert commands.get_command(context, "run") is None
    assert set(commands.get_command(context, "mlflow").list_commands(context)) >= {"ui"}


# The thread that sends to MLflow does not start by itself, however busy the machine is.
NOT_YET = """
from debias_pipeline.tracking import sender
sender.HEAD_START = 1000
"""


@pytest.mark.slow
def test_training_starts_before_packages_that_it_does_not_need_are_imported():
    command = ["run", "--pipeline=disent", "--params=device=cpu"]
    with throwaway_project() as project:
        done = subprocess.run(
            [sys.executable, "-X", "importtime", "-c", NOT_YET + FIRST_STEP, *command],
            cwd=project,
            capture_output=True,
            text=True,
        )
    assert done.returncode == 0, done.stderr
    imported = set(re.findall(r"^import time:.*\| +([\w.]+)$", done.stderr, re.MULTILINE))
    assert "torch" in imported, done.stderr
    assert not {"dask", "matplotlib", "mlflow", "sklearn", "sympy", "torch._dynamo"} & imported


# The project's store is set although MLflow is imported later, by two threads at once.
LATER = """
import os, sys, threading
from debias_pipeline.tracking import set_tracking_uri

set_tracking_uri("sqlite:///first.db")
set_tracking_uri("sqlite:///chosen.db")
assert "mlflow" not in sys.modules
found = []

def read_uri():
    import mlflow
    found.append(mlflow.get_tracking_uri())

thread = threading.Thread(target=read_uri)
thread.start()
read_uri()
thread.join()
assert found == ["sqlite:///chosen.db"] * 2, found
assert "MLFLOW_TRACKING_URI" not in os.environ
set_tracking_uri("sqlite:///other.db")
import mlflow
assert mlflow.get_tracking_uri() == "sqlite:///other.db"
"""


@pytest.mark.slow
def test_the_store_of_the_project_is_set_when_mlflow_is_imported():
    done = subprocess.run([sys.executable, "-c", LATER], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# Two steps of each optimiser.
TRAINING = """
import sys
from debias_pipeline.training import train
from training.tiny_runs import brief, tiny_data, tiny_method, tiny_recipe
for optimiser in ("adam", "sgd"):
    recipe = tiny_recipe("disent", optimiser=optimiser, **brief("disent"))
    train(tiny_method(recipe, (0,)), recipe, tiny_data())
print("imported:", *sys.modules)
"""


@pytest.mark.slow
def test_training_does_not_import_the_compiler():
    paths = [str(Path(__file__).parent), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    done = subprocess.run(
        [sys.executable, "-c", TRAINING],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert not {"torch._dynamo", "sympy"} & set(done.stdout.split())
