"""Training on images that memory does not hold, against images that it does.

    python -m benchmarks.larger_than_memory --folder=/a/local/disk

Writes a memory map of many times the memory that a process is then allowed (page cache counts),
and lets two real runs of that process take steps in turn: one with its images in memory, one on
the map. The file is removed at the end.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from benchmarks.alternating import step_times
from benchmarks.memory_limit import limited
from benchmarks.steps import CLASSES, cifar10c_like_data, published_recipe
from benchmarks.timing import Timing
from debias_pipeline.images import ImageData, available_memory
from debias_pipeline.io import ImageArrayDataset
from debias_pipeline.methods import Task, get_method
from debias_pipeline.training import train
from debias_pipeline.training.loop import Listener

GB = 1e9
SIDE = 32
IN_MEMORY = {"train": 45_000, "valid": 100, "test": 100}


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    options = _parser().parse_args(arguments)
    if options.images is not None:
        measure(options)
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = Path(folder) / "images.npy"
        write(path, round(options.file * GB))
        command = [sys.executable, "-m", "benchmarks.larger_than_memory", *sys.argv[1:]]
        with limited([*command, f"--images={path}"], round(options.memory * GB)) as inside:
            subprocess.run(inside, check=True)


def write(path: Path, size: int) -> None:
    """An array of random images, none of which stays in the page cache."""
    block = np.random.default_rng(0).integers(0, 256, (16_384, SIDE, SIDE, 3), dtype=np.uint8)
    blocks = -(-size // block.nbytes)
    header = {"descr": "|u1", "fortran_order": False, "shape": (blocks * len(block), SIDE, SIDE, 3)}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for _ in range(blocks):
            file.write(block.data)
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def measure(options: argparse.Namespace) -> None:
    """Inside the limit: let the runs take turns."""
    images = ImageArrayDataset(options.images).load()
    on_disk = ImageData.from_catalog(images, manifest_of(len(images)), torch.device("cpu"))
    # A map of its own, as advice on reading holds for a map.
    again = ImageArrayDataset(options.images).load()
    plain = ImageData(torch.from_numpy(again), on_disk.splits)
    in_memory = cifar10c_like_data(IN_MEMORY)
    print(
        f"{images.nbytes / GB:.1f} GB of images; {available_memory() / GB:.1f} GB of memory, "
        f"{in_memory.images.nbytes / GB:.2f} GB of images in memory; "
        f"gathered ahead: {on_disk.on_disk}, {in_memory.on_disk}"
    )
    recipe = published_recipe(
        options.dataset,
        options.method,
        batch_size=options.batch,
        steps=options.steps,
        eval_every=options.steps,
    )

    def run(data: ImageData, seed: int, listener: Listener) -> None:
        method = get_method(recipe.method)(recipe, Task((SIDE, SIDE, 3), CLASSES, [seed]))
        train(method, recipe, data, listeners=[listener])

    # Other images in every run: what one has read would be there for the other.
    runs = {
        "memory": lambda heard: run(in_memory, 0, heard),
        "disk": lambda heard: run(on_disk, 1, heard),
    }
    if options.not_ahead:
        runs["disk, not ahead"] = lambda heard: run(plain, 2, heard)
    times = step_times(runs, block=options.block, warm_up=options.block)
    for name, each in times.items():
        timing = Timing.of(each)
        print(
            f"{name:>15}: {timing.median:.1f} ms a step "
            f"({timing.lower:.1f} to {timing.upper:.1f}), mean {np.mean(each):.1f}"
        )
    memory = per_turn(times["memory"], options.block)
    for name in list(runs)[1:]:
        rates = [
            one / other
            for one, other in zip(memory, per_turn(times[name], options.block), strict=True)
        ]
        timing = Timing.of(rates)
        print(
            f"rate of steps, {name} / memory: {timing.median:.3f} "
            f"({timing.lower:.3f} to {timing.upper:.3f}), turn by turn"
        )


def per_turn(milliseconds: list[float], block: int) -> list[float]:
    """The mean of each whole turn, in which one long wait for the disk counts."""
    whole = len(milliseconds) // block
    return [
        float(np.mean(milliseconds[block * turn : block * (turn + 1)])) for turn in range(whole)
    ]


def manifest_of(count: int) -> pd.DataFrame:
    """A row per image; all but the last few are for training."""
    label = np.arange(count) % CLASSES
    split = np.full(count, "train", dtype=object)
    split[-200:-100], split[-100:] = "valid", "test"
    return pd.DataFrame(
        {
            "image_id": np.arange(count),
            "split": split,
            "label": label,
            "bias": label,
            "conflicting": pd.array(np.zeros(count, bool), dtype="boolean"),
        }
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", help="where the file is written; the system's own if left out")
    parser.add_argument("--file", type=float, default=12.0, help="GB of images")
    parser.add_argument("--memory", type=float, default=3.0, help="GB that the process may use")
    parser.add_argument("--dataset", default="cifar10c", help="whose recipe")
    parser.add_argument("--method", default="vanilla")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--steps", type=int, default=136)
    parser.add_argument("--block", type=int, default=15, help="steps of a turn")
    parser.add_argument(
        "--not-ahead", action="store_true", help="a third run, without thread and advice; slow"
    )
    parser.add_argument("--images", help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    main()
