"""Choose network, image size and number of steps so that an audit ends within its budget."""

import logging
import re
from collections.abc import Mapping
from typing import Any, Final, Literal, TypedDict

from debias_pipeline.audit.cross_fitting import held_out_folds
from debias_pipeline.errors import UserError
from debias_pipeline.images import ImageData
from debias_pipeline.methods import make_method
from debias_pipeline.training import SnapshotStore, leave_out, limited_threads, seconds_per_step

logger = logging.getLogger(__name__)

METHOD: Final = "disent"
# Each image is predicted by networks that were trained on three quarters of the training images.
FOLDS: Final = 4

# For own photos without a recipe of their own: networks with the side that images are resized to,
# the fastest first. The next one is timed only if this many times the fewest steps would fit, as
# timing a network that is too slow takes minutes.
_CHOICES: Final = (("conv4", 32), ("conv4", 64), ("resnet18", 64))
_FAST_ENOUGH_FOR_MORE: Final = 8
_PRETRAINED_CHOICE: Final = ("resnet18", 224)
_FEWEST_STEPS, _MOST_STEPS = 300, 1500
# Passes over the training images. After more, networks know images by heart, also those that go
# against a shortcut.
_FEWEST_PASSES, _MOST_PASSES = 12, 60
# At least so many steps per pass, where a batch of the usual size would leave fewer.
_STEPS_OF_PASS: Final = 4
_EVALUATIONS: Final = 10
# The rest of the budget is for reading the images, predictions and the report.
_SHARE_OF_TRAINING: Final = 0.8
_SECONDS: Final = {"s": 1, "min": 60, "h": 3600}


class AuditPlan(TypedDict):
    """The catalog's `audit.plan`.

    `threads` is the faster of one thread and the number that was asked for. `seconds_per_step` was
    measured, for all replicas together; `seconds` is the estimate of the training; `needed` is
    the budget in seconds for the fewest useful steps, and `enough` is false if it is too small.
    """

    recipe: dict[str, Any]
    threads: int | Literal["auto"]
    folds: int
    budget: float
    seconds_per_step: float
    seconds: float
    needed: float
    enough: bool


def parse_budget(text: str) -> float:
    """Return the seconds of a budget such as 30s, 10min or 2h.

    Raises:
        UserError: if it is something else.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|min|h)", str(text).strip())
    if match is None or not float(match[1]):
        raise UserError(f"budget={text} is not a time; use e.g. 30s, 10min or 2h")
    return float(match[1]) * _SECONDS[match[2]]


def plan_audit(
    data: ImageData,
    recipe: Mapping[str, Any],
    typed: Mapping[str, Any],
    *,
    classes: int,
    chooses_network: bool,
    chooses_steps: bool,
    budget: float,
    seed: int,
    precision: str,
    threads: Any,
) -> AuditPlan:
    """Time a few steps of the choices, and take the best that is fast enough.

    Args:
        data: the images.
        recipe: recipe of the method on this data set.
        typed: recipe fields that the user has set; they are kept.
        classes: number of labels.
        chooses_network: whether network and image size are chosen; else those of `recipe` are used.
        chooses_steps: whether the user has not set the number of steps.
        budget: seconds.
        seed: of replica 0.
        precision: fp32 or bf16.
        threads: see `TrainingThreads`.
    """
    # The smallest replica makes a few steps per pass.
    trained = len(data.splits["train"]) * (FOLDS - 1) // FOLDS
    batch = typed.get("batch_size") or max(1, min(recipe["batch_size"], trained // _STEPS_OF_PASS))
    recipe = {**recipe, "batch_size": batch}
    passes = len(data.splits["train"]) / batch
    fewest, useful = (
        min(max(_FEWEST_STEPS, round(wanted * passes)), _MOST_STEPS)
        for wanted in (_FEWEST_PASSES, _MOST_PASSES)
    )
    most = typed.get("steps") or (useful if chooses_network else recipe["steps"])
    choices = _choices(recipe, typed, data) if chooses_network else [{}]
    best: AuditPlan | None = None
    for choice in choices:
        fields = _with_steps({**recipe, **choice, **typed}, most, typed)
        seconds, faster = _measure(fields, data, classes, seed, precision, threads)
        possible = int(_SHARE_OF_TRAINING * budget / seconds)
        steps = most if "steps" in typed else max(1, min(most, possible))
        enough = not chooses_steps or steps >= min(fewest, recipe["steps"])
        if best is None or enough:
            best = {
                "recipe": _with_steps(fields, steps, typed),
                "threads": faster,
                "folds": FOLDS,
                "budget": budget,
                "seconds_per_step": seconds,
                "seconds": steps * seconds,
                "needed": min(fewest, recipe["steps"]) * seconds / _SHARE_OF_TRAINING,
                "enough": enough,
            }
        if possible < _FAST_ENOUGH_FOR_MORE * fewest:
            break
    assert best is not None
    return best


def interrupted_audit(
    store: SnapshotStore, seed: int, settings: Mapping[str, Any], typed: Mapping[str, Any]
) -> Mapping[str, Any] | None:
    """Return the fingerprint of an audit that was interrupted, or None if there is none.

    Args:
        store: snapshots of audits on the same data set.
        seed: seed of the first replica.
        settings: entries of the fingerprint that must be the same, see `run_training`.
        typed: recipe fields that must be the same.
    """
    for fingerprint in store.other_fingerprints("").values():
        same = all(fingerprint.get(name) == value for name, value in settings.items())
        recipe = fingerprint["recipe"]
        is_typed = all(recipe.get(name) == value for name, value in typed.items())
        if same and is_typed and fingerprint["seeds"][0] == seed:
            return fingerprint
    return None


def _choices(
    recipe: Mapping[str, Any], typed: Mapping[str, Any], data: ImageData
) -> list[dict[str, Any]]:
    """Return recipe fields of the choices, the fastest first."""
    side = min(data.images.shape[1:3])
    weights = typed.get("weights", recipe["weights"])
    networks = [_PRETRAINED_CHOICE] if weights != "none" else list(_CHOICES)
    if "network" in typed:
        networks = [(typed["network"], 224 if weights != "none" else 64)]
    extra = {"lr": 1e-4, "normalise": "imagenet"} if weights != "none" else {}
    return [
        {"network": network, "resize": size, **extra}
        # Enlarged images would cost time and show nothing more.
        if weights != "none" or size < side
        else {"network": network, **extra}
        for network, size in networks
    ]


def _with_steps(fields: Mapping[str, Any], steps: int, typed: Mapping[str, Any]) -> dict[str, Any]:
    """Return a recipe with a number of steps, and the start of swapping scaled to it."""
    scaled = {
        "steps": steps,
        "swap_start": steps // 4,
        "decay_every": steps,
        # Snapshots, from which an interrupted run continues, are saved at evaluations.
        "eval_every": max(1, steps // _EVALUATIONS),
    }
    return {**fields, **scaled, **{key: typed[key] for key in typed if key != "steps"}}


def _measure(
    fields: Mapping[str, Any],
    data: ImageData,
    classes: int,
    seed: int,
    precision: str,
    threads: Any,
) -> tuple[float, Any]:
    """Return the seconds of one step of all replicas, and the number of threads it was made with.

    With `auto` that is one thread if it is faster than all, else `auto`.
    """
    held_out = held_out_folds(data.splits["train"].labels, FOLDS, seed)
    seeds = range(seed, seed + len(held_out))
    method = make_method(fields, data.images.shape[1:], classes, seeds).to(data.device)
    leave_out(method, held_out)
    # On a busy machine several threads can be slower than one by far.
    counts: tuple[Any, ...] = (
        (1, "auto") if threads == "auto" and data.device.type == "cpu" else (threads,)
    )
    seconds = {}
    for count in counts:
        with limited_threads(count):
            seconds[count] = seconds_per_step(method, data, precision)
    faster = min(seconds, key=seconds.__getitem__)
    logger.info(
        "%s on images of %d × %d pixels: %.2f s per step of %d replicas",
        method.recipe.network,
        *method.task.image_shape[:2],
        seconds[faster],
        method.task.replicas,
    )
    return seconds[faster], faster
