"""What a report says of the data set: facts, splits, and whether the test split is unbiased."""

from collections.abc import Mapping, Sequence
from typing import Any

from debias_pipeline.reporting.formatting import DASH, known, percentage
from debias_pipeline.reporting.wording import metric_of, unreliable_rules


def data_section(
    metrics: Sequence[Mapping[str, Any]], data_card: Mapping[str, Any]
) -> dict[str, Any]:
    """What the templates of both reports need to know of the data set.

    Args:
        metrics: of each method on the page; at least one.
        data_card: what is worth knowing about the data set.

    Returns:
        Values by their names in the templates.
    """
    return {
        "card": data_card,
        "facts": _facts(data_card),
        "splits": _split_rows(data_card),
        "warning": test_split_warning(metrics, data_card),
        "seeds": _seeds_in_words(metrics),
        "unreliable": unreliable_rules(metrics),
        "headline": metric_of(metrics[0]["headline"], metrics[0].get("unbiased_test")),
    }


def _seeds_in_words(metrics: Sequence[Mapping[str, Any]]) -> str:
    counts = {
        each["method"]: len(each["checkpoints"]["last"]["accuracy"]["per_seed"]) for each in metrics
    }
    if len(set(counts.values())) > 1:
        of_each = ", ".join(f"{method} {count}" for method, count in counts.items())
        return f"mean ± standard deviation over seeds, of which there are: {of_each}"
    count = next(iter(counts.values()))
    if count == 1:
        return "one seed, so no standard deviation"
    return f"mean ± standard deviation over {count} seeds"


def _facts(data_card: Mapping[str, Any]) -> dict[str, str]:
    height, width, *_ = data_card["image_shape"]
    facts = {
        "Data set": f"{data_card['dataset']}, {data_card['percent']}",
        "Label": _attribute(data_card, "label"),
        "Bias attribute": _attribute(data_card, "bias"),
        "Images": f"{height} pixels high, {width} wide",
        "Origin": str(data_card["origin"]),
        "Seed of the data": str(data_card["seed"]),
    }
    return {name: text for name, text in facts.items() if text not in ("", "None")}


def _attribute(data_card: Mapping[str, Any], attribute: str) -> str:
    names = [str(name) for name in data_card[f"{attribute}_names"]]
    name = data_card[f"{attribute}_name"]
    if not names:
        return f"{name}: not labelled"
    shown = ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
    return f"{name}, {len(names)} values: {shown}"


def _split_rows(data_card: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    rows = []
    for split, facts in data_card["splits"].items():
        count, fraction = known(facts.get("conflicting")), known(facts.get("conflicting_fraction"))
        text = DASH if count is None else f"{count:,.0f}"
        rows.append((split, f"{facts['images']:,}", text, percentage(fraction, 2)))
    return rows


def test_split_warning(metrics: Sequence[Mapping[str, Any]], data_card: Mapping[str, Any]) -> str:
    """Say why accuracy on the test split may not be called unbiased; "" if it may.

    Args:
        metrics: of each method; `unbiased_test` says whether it may.
        data_card: tells why not.
    """
    if metrics[0].get("unbiased_test"):
        return ""
    if "test_split" not in data_card:
        return (
            "This data set was made before test splits were checked for bias: "
            "kedro run --pipeline=ingestion with the same --params checks it."
        )
    test, association = data_card["splits"]["test"], data_card["test_split"]["association"]
    fraction = known(test["conflicting_fraction"])
    if fraction is None:
        return (
            "The test images carry no bias labels, so whether their bias is independent of the "
            "label can't be checked here. If the test split is as biased as the training split, "
            "the accuracy below is flattering."
        )
    if association is None:
        return (
            "Whether the bias of the test images is independent of their label can't be checked: "
            "some of them carry no bias label, or the label or the bias has one value only. "
            "Go by the conflicting accuracy."
        )
    if data_card["test_split"]["unbiased"] is None:
        return (
            f"{test['images']:,} test images are too few to check whether their bias is "
            "independent of the label."
        )
    few = fraction < 0.5 * (1 - 1 / len(data_card["bias_names"]))
    return (
        f"{'Only ' if few else ''}{percentage(fraction)} of the test images are bias-conflicting, "
        f"and bias and label are associated (Cramér's V {association:.2f}; 0 if independent): "
        "the test split is biased itself, so go by the group-balanced, conflicting and worst-group "
        "accuracy."
    )
