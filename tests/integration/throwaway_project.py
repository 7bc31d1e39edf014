"""A throw-away project, so that no test writes into the checkout."""

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
from click.testing import CliRunner
from forked_kedro import ForkedKedro, drawing_nothing
from kedro.framework.project import configure_project
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
from mlflow.entities import Run

from debias_pipeline.cli import cli
from debias_pipeline.tracking import set_tracking_uri
from mlflow_store import empty_database

CHECKOUT = Path(__file__).parents[2]
PACKAGE = "debias_pipeline"
# What makes a folder a Kedro project; the package itself is installed.
PROJECT_FILES = ("pyproject.toml", ".telemetry", ".gitignore")


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    exit_code: int
    stdout: str
    stderr: str


@dataclass(frozen=True)
class Project:
    """A copy of this project's configuration in a folder of its own.

    Attributes:
        path: of the folder.
        draws: whether runs draw figures; else figures are empty, unless Dask's workers or the
            real executable draw them.
    """

    path: Path
    draws: bool = False

    def run(self, *arguments: str, start_in: str = ".", **params: Any) -> Outcome:
        """`kedro run` in this process: seconds faster than the executable."""
        return self.command("run", *self._arguments(arguments, params), start_in=start_in)

    def command(self, *arguments: str, start_in: str = ".") -> Outcome:
        """Any command of `kedro` in this process."""
        with self._entered(), contextlib.chdir(start_in):
            result = CliRunner().invoke(cli, list(arguments))
        failure = result.exception
        if failure is not None and not isinstance(failure, SystemExit):
            raise failure
        return Outcome(result.exit_code, result.stdout, result.stderr)

    def kedro(self, *arguments: str, **params: Any) -> Outcome:
        """`kedro run` in a process of its own."""
        with tempfile.TemporaryDirectory() as folder:
            output, errors = Path(folder, "output"), Path(folder, "errors")
            command = ["run", *self._arguments(arguments, params)]
            process = ForkedKedro(
                command, self.path, self._environment(), output, errors, self.draws
            )
            exit_code = process.wait(600)
            return Outcome(exit_code, output.read_text(), errors.read_text())

    def executable(self, *arguments: str, **params: Any) -> Outcome:
        """`kedro run` by the real executable."""
        done = subprocess.run(
            [
                str(Path(sys.executable).with_name("kedro")),
                *("run", *self._arguments(arguments, params)),
            ],
            cwd=self.path,
            env=self._environment(),
            capture_output=True,
            text=True,
            timeout=600,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    def start_kedro(
        self, *arguments: str, output: Path | None = None, **params: Any
    ) -> ForkedKedro:
        """Start `kedro run` in a process of its own, and in a new session.

        Args:
            arguments: of the command line.
            output: file to which standard output and errors are appended; None drops them.
            params: for --params.
        """
        command = ["run", *self._arguments(arguments, params)]
        output = output or Path(os.devnull)
        return ForkedKedro(command, self.path, self._environment(), output, draws=self.draws)

    def load(self, name: str, **params: Any) -> Any:
        """What the catalog holds under a name: the latest version, for a run of these `params`."""
        return self.catalog(**params).load(name)

    def catalog(self, **params: Any) -> Any:
        with self._entered(), KedroSession.create(self.path, runtime_params=params) as session:
            return session.load_context().catalog

    def mlflow_runs(self) -> list[Run]:
        """All runs in the project's store, the newest first."""
        client = self.mlflow_client()
        experiments = [each.experiment_id for each in client.search_experiments()]
        return list(client.search_runs(experiments))

    def mlflow_client(self) -> mlflow.MlflowClient:
        return mlflow.MlflowClient(f"sqlite:///{self.path}/mlflow.db")

    def results(self) -> dict[str, tuple[int, int]]:
        """Every file under data/ but snapshots, with its size and time of change."""
        return {
            path.relative_to(self.path).as_posix(): (path.stat().st_size, path.stat().st_mtime_ns)
            for path in sorted((self.path / "data").rglob("*"))
            if path.is_file() and "snapshots" not in path.parts
        }

    def files(self, pattern: str) -> list[Path]:
        """The files under data/ that fit a pattern; of versions, the latest comes last."""
        return sorted(path for path in (self.path / "data").glob(pattern) if path.is_file())

    def file(self, pattern: str) -> Path:
        """The latest version of a file under data/."""
        return self.files(pattern)[-1]

    def copy(self, path: Path) -> "Project":
        """A project with the same results, whose runs leave this one alone."""
        shutil.copytree(self.path, path)
        # MLflow keeps absolute paths of artifacts.
        with contextlib.closing(sqlite3.connect(path / "mlflow.db")) as store, store:
            for table, column in (
                ("experiments", "artifact_location"),
                ("runs", "artifact_uri"),
                ("logged_models", "artifact_location"),
            ):
                store.execute(
                    f"UPDATE {table} SET {column} = replace({column}, ?, ?)",
                    (str(self.path), str(path)),
                )
        return Project(path)

    @contextlib.contextmanager
    def _entered(self) -> Iterator[None]:
        """Work in the project, and undo what Kedro and MLflow keep per process."""
        search_path = list(sys.path)
        # Kedro changes the one; MLflow the other, which a later run would take for the user's.
        variables = {name: os.environ.get(name) for name in ("PYTHONPATH", "MLFLOW_TRACKING_URI")}
        tracking_uri = mlflow.get_tracking_uri()
        drawing = contextlib.nullcontext() if self.draws else drawing_nothing()
        with contextlib.chdir(self.path), drawing:
            try:
                bootstrap_project(self.path)
                yield
            finally:
                while mlflow.active_run():
                    mlflow.end_run()
                set_tracking_uri(tracking_uri)
                # The pipelines that there are depend on what is trained in the project.
                configure_project(PACKAGE)
                sys.path[:] = search_path
                for name, value in variables.items():
                    os.environ.pop(name, None)
                    if value is not None:
                        os.environ[name] = value

    @staticmethod
    def _arguments(arguments: tuple[str, ...], params: dict[str, Any]) -> list[str]:
        if not params:
            return [*arguments]
        # Python's names have no dots: recipe__steps stands for recipe.steps.
        pairs = [f"{name.replace('__', '.')}={value}" for name, value in params.items()]
        return [*arguments, f"--params={','.join(pairs)}"]

    @staticmethod
    def _environment() -> dict[str, str]:
        return {**os.environ, "DO_NOT_TRACK": "1", "COLUMNS": "200"}


def make_project(path: Path, *, with_database: bool = True, draws: bool = False) -> Project:
    """A project without any results, in a new folder.

    Args:
        path: of the folder.
        with_database: whether MLflow's database exists already, which takes MLflow seconds.
        draws: whether runs draw figures.
    """
    path.mkdir(parents=True)
    if with_database:
        (path / "mlflow.db").write_bytes(empty_database())
    shutil.copytree(CHECKOUT / "conf", path / "conf", ignore=_what_is_local)
    for name in PROJECT_FILES:
        shutil.copy(CHECKOUT / name, path / name)
    for placeholder in (CHECKOUT / "data").glob("*/.gitkeep"):
        (path / "data" / placeholder.parent.name).mkdir(parents=True)
    # Kedro insists on the folder; what is imported is the installed package.
    (path / "src").mkdir()
    _commit_all(path)
    return Project(path, draws)


def _what_is_local(folder: str, names: list[str]) -> list[str]:
    """A developer's own settings must not decide what tests see."""
    return names if Path(folder).name == "local" else []


def _commit_all(path: Path) -> None:
    def git(*arguments: str) -> None:
        subprocess.run(["git", "-C", str(path), *arguments], check=True, capture_output=True)

    git("init", "--quiet")
    git("add", "--all")
    git("-c", "user.name=test", "-c", "user.email=test@example.org", "commit", "-qm", "Begin")
