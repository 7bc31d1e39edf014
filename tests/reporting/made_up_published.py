"""Published accuracies that are made up."""

from debias_pipeline.published import PublishedAccuracy

SOURCE = "Lee et al. 2021, Table 1"
IN_WORDS = f"{SOURCE}: best over evaluation steps on the test set, mean of 3 runs"
OTHER_SOURCE = "Somebody et al. 2024, Table 2"


def published(accuracy: float) -> PublishedAccuracy:
    return {
        "accuracy": accuracy, "metric": "accuracy", "average_accuracy": None,
        "source": SOURCE, "selection": "best_on_test", "seeds": 3, "note": "",
    }  # fmt: skip


def published_elsewhere(accuracy: float, selection: str = "unknown") -> PublishedAccuracy:
    return {
        "accuracy": accuracy, "metric": "accuracy", "average_accuracy": None,
        "source": OTHER_SOURCE, "selection": selection, "seeds": None, "note": "other images",
    }  # fmt: skip
