"""Where the results on a page come from, for its footer."""

from collections.abc import Mapping

from debias_pipeline.records import DataCard, TrainingRecord
from debias_pipeline.reporting.text import counted, duration


def provenance(
    records: Mapping[str, TrainingRecord], data_card: DataCard
) -> list[tuple[str, dict[str, str]]]:
    """Return facts about each training run and about the data, by name; unknown ones are left out.

    Args:
        records: records of the training runs by method.
        data_card: data card of the data set.
    """
    of_data = {"Hash of the content": (data_card.get("content_hash") or "")[:16]}
    named = [
        *((f"Training of {method}", _facts(record)) for method, record in records.items()),
        ("Data", of_data),
    ]
    shown = [(name, {key: text for key, text in facts.items() if text}) for name, facts in named]
    return [(name, facts) for name, facts in shown if facts]


def _facts(record: TrainingRecord) -> dict[str, str]:
    seeds = record.get("seeds", [])
    if record.get("pretrained"):
        return {"Networks": "a published checkpoint"}
    # Records of earlier versions lack some of these.
    seconds = record.get("seconds")
    versions = record.get("versions") or {"PyTorch": record.get("torch", "")}
    threads = counted(record["threads"], "thread") if "threads" in record else ""
    where = (record.get("device", ""), record.get("precision", ""), threads)
    return {
        "Finished": (record.get("finished") or "").replace("T", " ").replace("+00:00", " UTC"),
        "Duration": "" if seconds is None else f"{duration(seconds)} for all seeds together",
        "Seeds": ", ".join(map(str, seeds)),
        "Device": ", ".join(filter(None, where)),
        "Commit": record.get("commit") or "",
        "MLflow run": record.get("mlflow_run_id") or "",
        "Versions": ", ".join(f"{name} {each}" for name, each in versions.items() if each),
        "Digest of the settings": record.get("settings_digest") or "",
    }
