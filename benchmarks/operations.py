"""How many PyTorch operations a step is made of, by the line that asks for them.

    python -m benchmarks.operations
    python -m benchmarks.operations --method lff --seeds 5 --precision bf16

Of a small step's time, what is not products is operations of a few microseconds: this says whose
they are. All gradients count for the line that starts the backward pass.
"""

import argparse
import traceback
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.markup import escape
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.steps import cmnist_like_data, published_recipe, untrained
from benchmarks.tables import print_whole, table_of
from debias_pipeline.training import train

WARM_UP, COUNTED = 10, 10
SMALL = {"train": 2_000, "valid": 20, "test": 20}
LINES = 25


class CountedSteps(TorchDispatchMode):
    """A listener that counts the operations of steps after `WARM_UP`, by line of the package."""

    def __init__(self) -> None:
        super().__init__()
        self.by_line: Counter[str] = Counter()
        self._heard = 0

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Count one operation."""
        ours = [each for each in traceback.extract_stack() if "debias_pipeline" in each.filename]
        self.by_line[f"{Path(ours[-1].filename).name}:{ours[-1].lineno} {ours[-1].line}"] += 1
        return func(*args, **(kwargs or {}))

    def on_step(self) -> None:
        """Begin to count, or end."""
        self._heard += 1
        if self._heard == WARM_UP:
            self.__enter__()
        if self._heard == WARM_UP + COUNTED:
            self.__exit__(None, None, None)

    def on_evaluation(self, step: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """Nothing of an evaluation is counted."""


def main(arguments: list[str] | None = None) -> None:
    """Count and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--method", default="disent")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--precision", default="fp32", choices=("fp32", "bf16"))
    options = parser.parse_args(arguments)
    data, steps = cmnist_like_data(SMALL), 2 * WARM_UP + COUNTED
    # Evaluated once more than at the end: a run's last window does more than all others.
    recipe = published_recipe("cmnist", options.method, steps=steps, eval_every=WARM_UP + COUNTED)
    counted = CountedSteps()
    method = untrained(data, recipe, options.seeds)
    train(method, recipe, data, precision=options.precision, listeners=[counted])
    title = f"{counted.by_line.total() / COUNTED:.0f} operations a step"
    table = table_of(title, ("operations", "line"))
    for line, count in counted.by_line.most_common(LINES):
        table.add_row(f"{count / COUNTED:.0f}", escape(line))
    print_whole(table)


if __name__ == "__main__":
    main()
