"""The project and the framework: its commands, its warnings, and the packaged project."""

import os
import subprocess
import sys
import tarfile
import zipfile
from importlib.util import find_spec
from pathlib import Path
from shutil import copy, copytree, ignore_patterns
from typing import Any

import click
import pytest
from throwaway_project import CHECKOUT, Project

from debias_pipeline import cli
from forked import ForkedProcess, execute

TINY = "device=cpu,recipe.steps=4,recipe.eval_every=2,recipe.batch_size=16"


# What Kedro's own script does, with an error for each deprecation that this project causes.
STRICT = """
import warnings
for kind in (DeprecationWarning, PendingDeprecationWarning, FutureWarning):
    warnings.filterwarnings("error", category=kind, module="debias_pipeline")
warnings.filterwarnings("error", message="(?s).*deprecated", module="debias_pipeline")
from kedro.framework.cli.cli import main
main()
"""


def test_a_run_as_typed_causes_no_deprecation_warning(empty_project: Project, tmp_path: Path):
    process = ForkedProcess(
        *(execute, STRICT, "run", "--pipeline=vanilla", f"--params={TINY}"),
        output=tmp_path / "log",
        folder=empty_project.path,
        environment={**os.environ, "DO_NOT_TRACK": "1"},
    )
    exit_code = process.wait(180)
    said = process.output.read_text()
    assert exit_code == 0, said
    assert "--pipeline" not in said


def test_pipeline_works_as_typed_when_kedro_drops_the_option(
    empty_project: Project, monkeypatch: pytest.MonkeyPatch
):
    passed: dict[str, Any] = {}
    options = [each for each in cli.kedro_run.params if each.name != "pipeline"]
    later = click.Command("run", params=options, callback=lambda **kwargs: passed.update(kwargs))
    monkeypatch.setattr(cli, "kedro_run", later)
    assert empty_project.run("--pipeline=vanilla").exit_code == 0
    assert passed["pipelines"] == ["vanilla"]
    assert "pipeline" not in passed


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of this checkout, built with what is installed."""
    if find_spec("setuptools") is None:
        pytest.skip("setuptools is not installed, so no wheel can be built offline")
    source = tmp_path_factory.mktemp("source")
    copytree(CHECKOUT / "src", source / "src", ignore=ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        copy(CHECKOUT / name, source)
    options = ("--no-deps", "--no-build-isolation", "--wheel-dir=dist", "--quiet", ".")
    done = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", *options],
        cwd=source,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = (source / "dist").glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the wheel is unpacked to."""
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def test_a_wheel_holds_all_that_the_program_reads(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (scripts,) = (name for name in names if name.endswith("entry_points.txt"))
        assert "debias-pipeline = debias_pipeline.__main__:main" in archive.read(scripts).decode()
    package = CHECKOUT / "src"
    needed = {
        path.relative_to(package).as_posix()
        for path in (package / "debias_pipeline").rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert "debias_pipeline/reporting/templates/page.html.jinja" in needed
    assert needed <= names


def test_a_packaged_project_runs_with_the_configuration_that_kedro_packs(
    installed: Path, tmp_path: Path
):
    with tarfile.open(tmp_path / "conf.tar.gz", "w:gz") as archive:
        archive.add(CHECKOUT / "conf", "conf", filter=_what_kedro_packs)
    (tmp_path / "empty").mkdir()
    arguments = (f"--conf-source={tmp_path / 'conf.tar.gz'}", "--pipeline=vanilla")
    done = subprocess.run(
        [sys.executable, "-m", "debias_pipeline", *arguments, f"--params={TINY}"],
        cwd=tmp_path / "empty",
        env={**os.environ, "DO_NOT_TRACK": "1", "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Unbiased" in done.stdout
    assert list((tmp_path / "empty/data").glob("08_reporting/**/report.html/*/report.html"))


# What `PYTHONPATH=… python -m debias_pipeline` does.
PACKAGED = """
import runpy, sys
sys.path.insert(0, sys.argv.pop(1))
runpy.run_module("debias_pipeline", run_name="__main__", alter_sys=True)
"""


def test_a_packaged_project_without_configuration_says_how_to_give_it(
    installed: Path, tmp_path: Path
):
    (tmp_path / "empty").mkdir()
    process = ForkedProcess(
        *(execute, PACKAGED, str(installed), f"--params={TINY}"),
        output=tmp_path / "output",
        errors=tmp_path / "errors",
        folder=tmp_path / "empty",
        environment={**os.environ, "DO_NOT_TRACK": "1"},
    )
    assert process.wait(180) == 1
    said = (tmp_path / "errors").read_text()
    assert "Traceback" not in process.output.read_text() + said
    assert said.startswith("Error: ")
    assert "conf/base does not exist" in said
    assert "--conf-source=" in said
    assert not list((tmp_path / "empty").iterdir())


def _what_kedro_packs(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    local = Path(member.name).match("local/*.yml")
    return None if local else member
