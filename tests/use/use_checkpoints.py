"""Untrained networks for tests of their use."""

from typing import Any

from debias_pipeline.methods import Task, get_method
from debias_pipeline.training import Checkpoint

NAMES = ("cow", "camel", "=1+1")
COMMON = {"network": "mlp", "lr": 0.01, "batch_size": 8, "steps": 10, "eval_every": 5}
OWN = {
    "vanilla": {},
    "disent": {
        "lambda_dis": 1, "lambda_swap_b": 1, "lambda_swap": 1, "swap_start": 5, "decay_every": 5,
        "gamma": 0.5,
    },
}  # fmt: skip


def make_checkpoint(
    method: str = "vanilla", size: tuple[int, int] = (12, 10), **recipe: Any
) -> Checkpoint:
    """Untrained networks of two seeds; those of `selected` are those of `last` negated."""
    kind = get_method(method)
    fields = {"method": method, **COMMON, **OWN[method], **recipe}
    typed = kind.recipe_type.model_validate(fields)
    shape = typed.network_input((*size, 3))
    made = kind(typed, Task(shape, len(NAMES), (3, 4)))
    states = [made.replica_state(replica) for replica in range(2)]
    negated = [{name: -each for name, each in state.items()} for state in states]
    return Checkpoint(
        recipe=fields,
        image_shape=shape,
        classes=len(NAMES),
        seeds=[3, 4],
        steps={"last": [10, 10], "selected": [5, 5]},
        states={"last": states, "selected": negated},
        origin={"dataset": "folder", "label_names": list(NAMES), "image_shape": [*size, 3]},
    )
