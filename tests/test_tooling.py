"""The repository keeps its own promises: the lock, the Makefile, clean files, import directions."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
TARGETS = {"setup", "run", "test", "lint", "format", "bench", "viz", "ui", "lab", "lock", "clean"}

# Written so that this file does not find itself.
MACHINE_PATH = re.compile(r"(?<![\w.~*}<)-])/(?:wor[k]|hom[e]|roo[t]|User[s])\b")
PACKAGE_INDEX = re.compile(r"(?:index-ur[l]|find-link[s])[ =]|https?://[^\s\"']+/simpl[e]\b")


def git(*arguments: str) -> str:
    """What git prints in the project, or a skip where this is no git checkout."""
    if not shutil.which("git") or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    return subprocess.run(
        ["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout


def locked() -> list[Requirement]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def declared() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    return [Requirement(line) for group in (project["dependencies"], *extras) for line in group]


def test_lock_holds_exact_versions_in_order():
    for requirement in locked():
        assert re.fullmatch(r"==[^*,]+", str(requirement.specifier)), requirement
    names = [requirement.name for requirement in locked()]
    assert names == sorted(set(names))


def test_lock_covers_every_dependency_with_a_version_it_allows():
    versions = {canonicalize_name(pin.name): str(pin.specifier)[2:] for pin in locked()}
    for requirement in declared():
        if requirement.name == "debias-pipeline":
            continue
        version = versions.get(canonicalize_name(requirement.name))
        assert version, f"{requirement.name} is not in constraints.txt: run `make lock`"
        assert version in requirement.specifier, f"{requirement} excludes the locked {version}"


def test_lock_keeps_platform_libraries_to_their_platform():
    for pin in locked():
        if re.match(r"(torch|triton|nvidia-|cuda-)", pin.name):
            assert pin.marker is not None, pin
            assert not pin.marker.evaluate({"platform_system": "Darwin"}), pin
            assert not pin.marker.evaluate({"platform_machine": "aarch64"}), pin


@pytest.mark.parametrize("pattern", [MACHINE_PATH, PACKAGE_INDEX], ids=["paths", "indexes"])
def test_tracked_files_name_no_machine(pattern):
    found = []
    for name in git("ls-files", "-z").split("\0")[:-1]:
        try:
            text = (ROOT / name).read_text(encoding="utf-8")
        except (UnicodeDecodeError, FileNotFoundError, IsADirectoryError):
            continue
        found += [f"{name}: {match.group()}" for match in pattern.finditer(text)]
    assert not found


@pytest.mark.parametrize(
    "path",
    [
        "data/02_intermediate/cmnist/images.npy",
        "data/06_models/cmnist/2pct/checkpoint/2030-01-01/checkpoint.safetensors",
        "data/01_raw/MNIST/raw/train-images-idx3-ubyte.gz",
        "mlflow.db",
        "mlruns/0/meta.yaml",
        "conf/local/credentials.yml",
    ],
)
def test_git_ignores_what_runs_make(path):
    assert git("check-ignore", "--no-index", path).strip() == path


def test_git_keeps_placeholders():
    shown = git("ls-files", "--others", "--cached", "--exclude-standard", "conf/local")
    assert shown.split() == ["conf/local/.gitkeep"]


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    if not shutil.which("make"):
        pytest.skip("make is not installed")
    # Settings of a `make test` that started these tests must not reach this make.
    inherited = {key: value for key, value in os.environ.items() if key in ("PATH", "HOME")}
    return subprocess.run(
        ["make", *arguments], cwd=ROOT, capture_output=True, text=True, env=inherited
    )


def test_make_alone_lists_every_target():
    listed = [line.split()[0] for line in make().stdout.splitlines()]
    assert listed[0] == "help"
    assert set(listed) >= TARGETS
    for line in make("help").stdout.splitlines():
        assert len(line.split()) > 1, f"no description: {line}"


def test_make_passes_pipeline_and_parameters_on():
    dry = make("-n", "run", "PIPELINE=disent", "PARAMS=dataset=cmnist,percent=1pct").stdout
    assert "kedro run --pipeline='disent' --params='dataset=cmnist,percent=1pct'" in dry
    assert make("-n", "run").stdout.rstrip().endswith("kedro run")


def test_make_names_the_fix_where_python_is_missing(tmp_path):
    made = make("setup", f"VENV={tmp_path / 'venv'}", "PYTHON=no-such-python")
    assert made.returncode != 0
    assert "install Python 3.11 or newer" in made.stderr


def test_imports_run_one_way():
    linter = Path(sys.executable).with_name("lint-imports")
    if not linter.exists():
        pytest.skip("import-linter is not installed")
    done = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
