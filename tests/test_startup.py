"""Which packages commands import; `make bench ARGS="--only packages"` measures the time."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks.runs import throwaway_project

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
FIRST_STEP = """
import os, sys
from kedro.framework.cli import main
from debias_pipeline.tracking import sender
from debias_pipeline.training.stage import RunningStage

def stop(self, precision):
    print("imported:", *sys.modules, flush=True)
    os._exit(0)

sender._HEAD_START = 1000
RunningStage.train_step = stop
sys.argv = ["kedro", "run", "--pipeline=disent", "--params=device=cpu"]
main()
"""


@pytest.mark.slow
def test_training_starts_before_packages_that_it_does_not_need_are_imported():
    with throwaway_project() as project:
        done = subprocess.run(
            [sys.executable, "-c", FIRST_STEP], cwd=project, capture_output=True, text=True
        )
    imported = set(done.stdout.partition("imported:")[2].split())
    assert "torch" in imported, done.stderr
    assert not {"dask", "matplotlib", "mlflow", "sklearn", "sympy", "torch._dynamo"} & imported


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
