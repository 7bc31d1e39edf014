"""The time of a step does not grow with the number of training images.

    python -m benchmarks.flat_in_n

Two DisEnt runs on cmnist take steps in turn: one on 55,000 images, one on 5,500,000, which are
the same pixels under a hundred times as many image ids.
"""

import argparse
import statistics

import numpy as np
import torch

from benchmarks.alternating import step_times
from benchmarks.steps import cmnist_like_data, published_recipe, untrained
from benchmarks.timing import Timing
from debias_pipeline.images import ImageData, Split
from debias_pipeline.training import train
from debias_pipeline.training.loop import Listener


def repeated(data: ImageData, times: int) -> ImageData:
    """The same pixels as a training split of `times` as many images."""
    split = data.splits["train"]
    longer = Split(
        image_ids=np.arange(times * len(split)),
        rows=split.rows.repeat(times),
        labels=np.tile(split.labels, times),
        bias=np.tile(split.bias, times),
        conflicting=np.tile(split.conflicting, times),
    )
    return ImageData(data.images, {**data.splits, "train": longer})


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--method", default="disent")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--times", type=int, default=100)
    options = parser.parse_args(arguments)
    small = cmnist_like_data({"train": 55_000, "valid": 500, "test": 500})
    recipe = published_recipe(
        "cmnist", options.method, steps=options.steps, eval_every=options.steps
    )

    def run(data: ImageData, listener: Listener) -> None:
        method = untrained(data, recipe, options.seeds)
        train(method, recipe, data, precision=options.precision, listeners=[listener])

    large = repeated(small, options.times)
    times = step_times(
        {"few": lambda heard: run(small, heard), "many": lambda heard: run(large, heard)},
        block=1,
        warm_up=options.steps // 5,
    )
    for name, data in (("few", small), ("many", large)):
        timing = Timing.of(times[name])
        print(
            f"{len(data.splits['train']):>9,} images: {timing.median:.2f} ms a step "
            f"({timing.lower:.2f} to {timing.upper:.2f})"
        )
    # Step by step: what slows the machine for a while slows both.
    ratios = [many / few for few, many in zip(times["few"], times["many"], strict=True)]
    print(f"ratio {statistics.median(ratios):.3f}, {torch.get_num_threads()} threads")


if __name__ == "__main__":
    main()
