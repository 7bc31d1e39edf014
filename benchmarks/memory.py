"""Peak memory of a whole `kedro run`, in a process of its own."""

import resource
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

PROJECT = Path(__file__).parents[1]


def peak_memory_of_cmnist_run(steps: int = 1000) -> float:
    """Gigabytes at the peak of a disent run on data of MNIST's size."""
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        shutil.copytree(PROJECT / "conf", project / "conf")
        shutil.copy(PROJECT / "pyproject.toml", project)
        # Kedro wants the folder; the package itself is installed.
        (project / "src").mkdir()
        _write_mnist_like(project / "data/01_raw/MNIST/raw")
        command = [sys.executable, "-m", "kedro", "run", "--pipeline=disent"]
        parameters = f"dataset=cmnist,recipe.steps={steps}"
        subprocess.run(
            [*command, "--params", parameters],
            cwd=project,
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e9


def _write_mnist_like(folder: Path) -> None:
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    for name, count in (("train", 60_000), ("t10k", 10_000)):
        images = random.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = random.integers(0, 10, count, dtype=np.uint8)
        header = struct.pack(">4i", 0x803, count, 28, 28)
        (folder / f"{name}-images-idx3-ubyte").write_bytes(header + images.tobytes())
        header = struct.pack(">2i", 0x801, count)
        (folder / f"{name}-labels-idx1-ubyte").write_bytes(header + labels.tobytes())
