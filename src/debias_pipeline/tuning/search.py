"""The trials of one method: which values come next, and how earlier ones were scored."""

import hashlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, get_args

import numpy as np

from debias_pipeline.methods import get_method
from debias_pipeline.names import DONE, FAILED
from debias_pipeline.ranges import Range
from debias_pipeline.selection_rules import Flags

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.storages import BaseStorage

# Drawn numbers are rounded, so that they can be typed.
_DIGITS: Final = 3
_GROUPS: Final = "pseudo_aligned"


@dataclass(frozen=True)
class FinishedTrial:
    """A trial that is done or has failed.

    Attributes:
        number: counted from 1.
        values: recipe field → value.
        score: mean of `scores`; None if the trial has failed.
        scores: scores of each seed.
        steps: the selected step of each seed.
        seconds: duration.
        error: one line; None if the trial is done.
    """

    number: int
    values: Mapping[str, Any]
    score: float | None
    scores: list[float]
    steps: list[int]
    seconds: float
    error: str | None

    @property
    def status(self) -> str:
        """Return whether the trial is done or failed."""
        return DONE if self.error is None else FAILED


class Search:
    """The trials of one method, in a study of Optuna.

    Only finished trials are stored, each in one transaction. The values of a trial depend only on
    its number and the finished trials, so that a search that was killed continues with the same
    values.
    """

    def __init__(
        self,
        storage: "BaseStorage",
        name: str,
        recipe: Mapping[str, Any],
        ranges: Mapping[str, Any],
        sampler: str,
        seed: int,
    ) -> None:
        """Open the study, or create it.

        Args:
            storage: stores the trials.
            name: of the study; another name is another search.
            recipe: of the method, whose own values are tried first.
            ranges: recipe field → fields of `Range`.
            sampler: tpe or random.
            seed: seed of the sampler.
        """
        self._study = _open(storage, name)
        self._recipe, self._sampler, self._seed = recipe, sampler, seed
        self._ranges = {
            field: _distribution(str(recipe["method"]), field, Range.model_validate(fields))
            for field, fields in ranges.items()
        }

    def trials(self) -> list[FinishedTrial]:
        """Return the finished trials in order."""
        return [
            FinishedTrial(
                number=trial.number + 1,
                values={field: trial.params[field] for field in self._ranges},
                score=trial.value,
                **trial.user_attrs,
            )
            for trial in self._study.get_trials(deepcopy=False)
        ]

    def next_values(self) -> dict[str, Any]:
        """Return the values of the next trial: those of the recipe, then those of the sampler."""
        import optuna

        finished = self._study.get_trials()
        if not finished:
            return {field: self._recipe[field] for field in self._ranges}
        # A sampler for each trial, as the state of a sampler would be lost with the process.
        sampler = self._seeded_sampler(len(finished))
        study = optuna.create_study(sampler=sampler, direction="maximize")
        study.add_trials(finished)
        drawn = study.ask(self._ranges).params
        return {field: _rounded(drawn[field], each) for field, each in self._ranges.items()}

    def add(
        self,
        values: Mapping[str, Any],
        seconds: float,
        scores: list[float] | None = None,
        steps: list[int] | None = None,
        error: str | None = None,
    ) -> FinishedTrial:
        """Store the result of a trial and return it; the trial has failed if `error` is given.

        Args:
            values: recipe field → value, from `next_values`.
            seconds: duration of the trial.
            scores: score of each seed, higher is better; None if the trial has failed.
            steps: selected step of each seed; None if the trial has failed.
            error: message on one line; None on success.
        """
        from optuna.trial import TrialState, create_trial

        attributes = {
            "scores": scores or [],
            "steps": steps or [],
            "seconds": seconds,
            "error": error,
        }
        self._study.add_trial(
            create_trial(
                state=TrialState.COMPLETE if error is None else TrialState.FAIL,
                value=float(np.mean(scores)) if scores and error is None else None,
                params=dict(values),
                distributions=self._ranges,
                user_attrs=attributes,
            )
        )
        return self.trials()[-1]

    def _seeded_sampler(self, number: int) -> "BaseSampler":
        from optuna.samplers import RandomSampler, TPESampler

        text = f"{self._seed}/{self._recipe['method']}/{number}"
        seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
        return TPESampler(seed=seed) if self._sampler == "tpe" else RandomSampler(seed=seed)


def stored_groups(storage: "BaseStorage", name: str, estimate: Callable[[], Flags]) -> Flags:
    """Return pseudo-groups of the storage, which are estimated and stored the first time.

    Args:
        storage: also stores the trials.
        name: name of the study that stores the groups.
        estimate: returns bool, [R, n].
    """
    study = _open(storage, name)
    if _GROUPS not in study.user_attrs:
        aligned = estimate()
        packed = [np.packbits(row).tobytes().hex() for row in aligned]
        study.set_user_attr(_GROUPS, [aligned.shape[1], *packed])
    images, *rows = study.user_attrs[_GROUPS]
    bits = (np.frombuffer(bytes.fromhex(row), np.uint8) for row in rows)
    return np.stack([np.unpackbits(row, count=images) for row in bits]).astype(bool)


def delete_study(storage: "BaseStorage", name: str) -> None:
    """Delete the trials of a study, if it exists."""
    import optuna

    with suppress(KeyError):
        optuna.delete_study(study_name=name, storage=storage)


def _open(storage: "BaseStorage", name: str) -> "Study":
    import optuna

    # Each trial is logged by this project, in one line.
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(
        storage=storage, study_name=name, direction="maximize", load_if_exists=True
    )


def _distribution(method: str, field: str, tried: Range) -> "BaseDistribution":
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    low, high = tried.low, tried.high
    if low is None or high is None:
        return CategoricalDistribution(tried.choices)
    annotation = get_method(method).recipe_type.model_fields[field].annotation
    types = get_args(annotation) or (annotation,)
    if int in types and float not in types and isinstance(low, int) and isinstance(high, int):
        return IntDistribution(low, high, log=tried.log)
    return FloatDistribution(low, high, log=tried.log)


def _rounded(value: Any, distribution: "BaseDistribution") -> Any:
    from optuna.distributions import FloatDistribution

    if not isinstance(distribution, FloatDistribution):
        return value
    rounded = float(f"{value:.{_DIGITS}g}")
    return min(max(rounded, distribution.low), distribution.high)
