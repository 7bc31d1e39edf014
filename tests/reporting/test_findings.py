from typing import Any

from made_up_runs import make_run

from debias_pipeline.reporting.findings import findings


def finding(base: tuple[float | None, float | None], other: tuple[float | None, Any]) -> str:
    def metrics(method: str, mean: float | None, std: float | None) -> dict[str, Any]:
        summary = {"mean": mean, "std": std, "per_seed": [mean]}
        return {
            "method": method,
            "checkpoints": {"last": {"accuracy": summary, "conflicting_accuracy": summary}},
        }

    (sentence,) = findings([metrics("vanilla", *base), metrics("disent", *other)])
    return sentence


def test_finding_is_honest() -> None:
    assert finding((0.5, 0.01), (0.4, 0.01)).endswith("50.0 %: 10.0 points fewer.")
    assert "within the spread over seeds (± 2.8 points)" in finding((0.5, 0.02), (0.51, 0.02))
    assert "one seed" in finding((0.5, None), (0.51, None))
    assert "no difference" in finding((0.5, 0.001), (0.5, 0.001))
    assert "can't be compared" in finding((None, None), (0.5, 0.1))


def test_finding_without_bias_labels_is_about_all_test_images() -> None:
    runs = [make_run(method, bias_labels=False) for method in ("vanilla", "disent")]
    (sentence,) = findings([run.metrics for run in runs])
    assert sentence.startswith("On the test split disent gets")


def test_finding_names_the_method_with_one_seed() -> None:
    sentence = finding((0.5, None), (0.6, 0.02))
    assert "one seed of vanilla" in sentence
    assert "disent:" not in sentence
