"""Whether `torch.compile` of a method's losses, forward and backward, makes a step faster.

    python -m benchmarks.compiled_step

Two runs of the real loop take turns: one as it is, one compiled. Needs a C++
compiler, as torch.compile does on a CPU.
"""

import argparse
import statistics

import torch

from benchmarks.alternating import step_times
from benchmarks.steps import cifar10c_like_data, cmnist_like_data, published_recipe, untrained
from benchmarks.timing import Timing
from debias_pipeline.training import train
from debias_pipeline.training.loop import Listener

# Each run has threads of its own for its products, which go on waiting for a while.
BLOCK = 20
DATA = {"cmnist": cmnist_like_data, "cifar10c": cifar10c_like_data}


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="cmnist", choices=DATA)
    parser.add_argument("--method", default="disent")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--precision", default="fp32", choices=("fp32", "bf16"))
    parser.add_argument("--steps", type=int, default=1500)
    options = parser.parse_args(arguments)
    data = DATA[options.dataset]()
    recipe = published_recipe(
        options.dataset, options.method, steps=options.steps, eval_every=options.steps
    )

    def run(name: str, heard: Listener) -> None:
        method = untrained(data, recipe, options.seeds)
        if name == "compiled":
            method.losses = torch.compile(method.losses)
        train(method, recipe, data, precision=options.precision, listeners=[heard])

    times = step_times(
        {name: lambda heard, name=name: run(name, heard) for name in ("as it is", "compiled")},
        block=BLOCK,
        warm_up=options.steps // 5,
    )
    for name, each in times.items():
        timing = Timing.of(each)
        print(f"{name}: {timing.median:.2f} ms a step ({timing.lower:.2f} to {timing.upper:.2f})")
    pairs = zip(times["as it is"], times["compiled"], strict=True)
    ratios = [compiled / as_it_is for as_it_is, compiled in pairs]
    print(f"compiled / as it is {statistics.median(ratios):.3f}, {torch.get_num_threads()} threads")


if __name__ == "__main__":
    main()
