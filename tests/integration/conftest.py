from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from throwaway_project import Project, make_project

# The default data set and percent; short, yet with steps before and after features are swapped.
SHORT_RUN = {
    "seeds": 2,
    "device": "cpu",
    "recipe__steps": 60,
    "recipe__eval_every": 20,
    "recipe__swap_start": 25,
    "recipe__batch_size": 64,
}


@pytest.fixture(scope="session")
def short_run() -> dict[str, Any]:
    return dict(SHORT_RUN)


@pytest.fixture(scope="session")
def trained_project(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Project:
    """What one `kedro run` of both methods leaves. It is shared: tests only look at it."""
    folder = tmp_path_factory.getbasetemp()
    if worker_id != "master":
        folder = folder.parent  # of all processes that run tests
    path, done = folder / "trained" / "project", folder / "trained" / "done"
    with FileLock(folder / "trained.lock"):
        if not done.exists():
            outcome = make_project(path, draws=True).run(**SHORT_RUN)
            assert outcome.exit_code == 0, outcome.stdout + outcome.stderr
            done.touch()
    return Project(path, draws=True)


@pytest.fixture
def project(trained_project: Project, tmp_path: Path) -> Project:
    """A copy of the trained project, to do with as one likes."""
    return trained_project.copy(tmp_path / "project")


@pytest.fixture
def empty_project(tmp_path: Path) -> Project:
    return make_project(tmp_path / "project")
