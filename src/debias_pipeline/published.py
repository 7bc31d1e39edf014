"""Published accuracies, each with its source and protocol."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal, TypedDict

from pydantic import BaseModel, ConfigDict, Field

from debias_pipeline.names import Metric

Selection = Literal["last", "validation", "best_on_test", "unknown"]
_SELECTIONS: Final[Mapping[str, str]] = {
    "last": "last step",
    "validation": "step, and often hyper-parameters, with the highest worst-group accuracy on the "
    "validation set",
    "best_on_test": "best over evaluation steps on the test set",
    "unknown": "how the checkpoint was selected is not stated",
}
_COMPARABLE: Final[Mapping[str, str]] = {"unknown": "best_on_test", "validation": "selected"}


class Source(BaseModel):
    """A table of a paper, as conf/base/parameters_recipes/sources.yml describes it.

    Attributes:
        name: paper and table.
        selection: how the evaluated checkpoint was selected.
        seeds: number of averaged runs; None if it is not stated.
        note: other differences from measured accuracies, such as other images.
    """

    model_config = ConfigDict(extra="forbid")

    name: str
    selection: Selection
    seeds: int | None = Field(default=None, ge=1)
    note: str = ""


class PublishedAccuracy(TypedDict):
    """A published accuracy of one method on one data set and percent.

    `accuracy` is a fraction, and `metric` says which. `average_accuracy` is the average that papers
    print in addition for some data sets: for Waterbirds, the mean over groups weighted by their
    shares of the training images; for CelebA, the accuracy on the test split. The others are those
    of its `Source`.
    """

    accuracy: float
    metric: Metric
    average_accuracy: float | None
    source: str
    selection: str
    seeds: int | None
    note: str


def shown_accuracy(
    published: Sequence[PublishedAccuracy], headline: Metric
) -> PublishedAccuracy | None:
    """Return the published accuracy for tables, the first one of the headline metric, or None.

    The metrics of an earlier version may have another headline metric than the data set has now.
    """
    return next((each for each in published if each["metric"] == headline), None)


def comparable_selection(published: PublishedAccuracy) -> str:
    """Return the selection rule whose measured accuracy is comparable with a published one.

    If a paper does not state its rule, best on test is assumed, as in most published code. The
    highest worst-group accuracy on the validation set is compared with `selected`, which uses bias
    labels of it too, but selects by the harmonic mean of aligned and conflicting accuracy.
    """
    return _COMPARABLE.get(published["selection"], published["selection"])


def source_in_words(published: PublishedAccuracy) -> str:
    """Return a source as "Lee et al. 2021, Table 1: best …, mean of 3 runs; note"."""
    seeds = published["seeds"]
    if seeds is None:
        runs = "number of runs not stated"
    else:
        runs = "one run" if seeds == 1 else f"mean of {seeds} runs"
    note = f"; {published['note']}" if published["note"] else ""
    return f"{published['source']}: {_SELECTIONS[published['selection']]}, {runs}{note}"


def sources_by_method(sources: Iterable[tuple[str, str]]) -> list[str]:
    """Return each source once; if there are several, with the methods in front.

    Args:
        sources: pairs of a method and its source, see `source_in_words`.
    """
    methods: dict[str, dict[str, None]] = {}
    for method, source in sources:
        methods.setdefault(source, {})[method] = None
    if len(methods) == 1:
        return [*methods]
    return [f"{', '.join(of_source)}: {source}" for source, of_source in methods.items()]
