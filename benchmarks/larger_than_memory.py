"""Train on images of CelebA's number and size as published, against a small set in memory.

    python -m benchmarks.larger_than_memory --folder=/a/local/disk

The large array is a sparse file of 23.6 GB that takes no space: its pages cost what mapping,
reading and freeing them costs, but no time of the disk. Start it in a control group with a memory
limit below that, see docs/performance.md.
"""

import argparse
import itertools
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
import torch

from benchmarks.cases import Case, with_random_labels
from benchmarks.rows import Row, Spread, print_machine, print_rows
from debias_pipeline.images import available_memory
from debias_pipeline.io import ImageArrayDataset
from debias_pipeline.training.device import prepared

CELEBA, IN_MEMORY = 202_599, 1_000
# As published. The data set `celeba` stores the central 178 x 178, 19.3 GB.
IMAGE = (218, 178, 3)


def main() -> None:
    """Time training steps on both arrays in alternating rounds, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--folder", help="for the sparse file; default: that for temporary files")
    parser.add_argument("--method", default="vanilla")
    parser.add_argument("--network", default="resnet18")
    parser.add_argument("--resize", type=int, default=64)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--steps", type=int, default=10, help="of each in a round")
    options = parser.parse_args()
    print_machine()
    print(f"{available_memory() / 1e9:.1f} GB of memory available")
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = Path(folder) / "images.npy"
        np.lib.format.open_memmap(path, "w+", np.uint8, (CELEBA, *IMAGE))
        few = np.random.default_rng(0).integers(0, 256, (IN_MEMORY, *IMAGE), dtype=np.uint8)
        arrays = {"in memory": few, "larger": ImageArrayDataset(path).load()}
        print_rows("A training step", measure(arrays, options))
    print(f"{psutil.Process().memory_info().rss / 1e9:.2f} GB resident at the end")


def measure(arrays: dict[str, np.ndarray], options: argparse.Namespace) -> list[Row]:
    """Time the steps of a training run on each array in turn."""
    changes = {
        "network": options.network,
        "weights": "none",
        "resize": options.resize,
        "batch_size": options.batch,
    }
    case = Case("celeba", options.method, 1, "fp32")
    times: dict[str, list[list[float]]] = {name: [] for name in arrays}
    with prepared(torch.device("cpu")):
        data = {name: with_random_labels(images) for name, images in arrays.items()}
        stages = {name: case.last_stage(each, **changes)[1] for name, each in data.items()}
        # The first round is not counted.
        for _, (name, stage) in itertools.product(range(options.rounds + 1), stages.items()):
            times[name].append([])
            for _ in range(options.steps):
                started = time.perf_counter()
                stage.train_step(case.precision)
                times[name][-1].append(1000 * (time.perf_counter() - started))
    mean = {name: [float(np.mean(each)) for each in rounds[1:]] for name, rounds in times.items()}
    return [
        {
            "images": name,
            "GB": images.nbytes / 1e9,
            "gathered ahead": str(data[name].gathers_ahead),
            "ms, means of rounds": Spread.of(mean[name]),
            "rate": Spread.of([a / b for a, b in zip(mean["in memory"], mean[name], strict=True)]),
        }
        for name, images in arrays.items()
    ]


if __name__ == "__main__":
    main()
