"""Where the results on a page come from, for its footer."""

from collections.abc import Iterable
from typing import Final, NamedTuple
from urllib.parse import quote, urlsplit

from debias_pipeline.errors import UserError
from debias_pipeline.records import DataCard, TrainingRecord
from debias_pipeline.reporting.metric_table import MethodResult
from debias_pipeline.reporting.text import counted, duration

_MLFLOW_RUN: Final = "MLflow run"


class Fact(NamedTuple):
    """Text of the footer, and the address to which it links, "" if there is none."""

    text: str
    link: str = ""


def provenance(
    results: Iterable[MethodResult], data_card: DataCard, mlflow_ui: str = ""
) -> list[tuple[str, dict[str, Fact]]]:
    """Return facts about each training run and about the data, by name; unknown ones are left out.

    Args:
        results: results of the methods.
        data_card: data card of the data set.
        mlflow_ui: address of MLflow's pages, "" if it is not known.

    Raises:
        UserError: if `mlflow_ui` is not the address of a web server.
    """
    base = web_address(mlflow_ui)
    of_data = {"Hash of the content": (data_card.get("content_hash") or "")[:16]}
    named = [
        *((f"Training of {each.name}", _facts(each.record)) for each in results),
        ("Data", of_data),
    ]
    shown = [
        (name, {key: _fact(key, text, base) for key, text in facts.items() if text})
        for name, facts in named
    ]
    return [(name, facts) for name, facts in shown if facts]


def web_address(mlflow_ui: str) -> str:
    """Check the address of MLflow's pages, and return it without a trailing slash.

    An empty address, which stands for none, stays empty.

    Raises:
        UserError: if it is not the address of a web server.
    """
    # The browser would run a link such as javascript:… as a script.
    parts = urlsplit(mlflow_ui)
    if mlflow_ui and (parts.scheme not in ("http", "https") or not parts.netloc):
        raise UserError(
            f"mlflow_ui={mlflow_ui!r} is not a web address; use e.g. http://127.0.0.1:5000"
        )
    return mlflow_ui.rstrip("/")


def _fact(name: str, text: str, mlflow_ui: str) -> Fact:
    if name != _MLFLOW_RUN:
        return Fact(text)
    if not mlflow_ui:
        return Fact(f"{text} (make ui shows the runs in mlflow.db)")
    # This address needs no experiment, which training records do not have.
    return Fact(text, f"{mlflow_ui}/#/runs/{quote(text, safe='')}")


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
        _MLFLOW_RUN: record.get("mlflow_run_id") or "",
        "Versions": ", ".join(f"{name} {each}" for name, each in versions.items() if each),
        "Digest of the settings": record.get("settings_digest") or "",
    }
