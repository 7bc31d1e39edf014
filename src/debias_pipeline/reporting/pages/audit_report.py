"""The HTML report of an audit: the verdict, its evidence, and the images behind it."""

from collections.abc import Mapping, Sequence

from debias_pipeline.records import DataCard
from debias_pipeline.reporting.pages.index_page import AUDIT
from debias_pipeline.reporting.pages.page import page_scripts, render
from debias_pipeline.reporting.pages.suspect_section import SuspectSection
from debias_pipeline.reporting.text import left_out_in_words


def write_audit_report(
    sentence: str,
    evidence: Sequence[str],
    suspects: SuspectSection,
    data_card: DataCard,
    facts: Mapping[str, str],
) -> str:
    """Return an HTML page that loads no other files.

    Args:
        sentence: the verdict.
        evidence: one sentence each.
        suspects: the section about suspicious images.
        data_card: facts about the data set.
        facts: further facts about the audit, by name.
    """
    title = data_card.get("title") or data_card["dataset"]
    return render(
        "audit_report.html.jinja",
        scripts=page_scripts(with_charts=False),
        about={
            "name": AUDIT,
            "title": title,
            "steps": facts.get("steps", ""),
            "result": sentence,
        },
        title=title,
        sentence=sentence,
        evidence=evidence,
        suspects=suspects,
        facts={
            **facts,
            "origin": data_card["origin"],
            "left out": left_out_in_words(data_card) or "nothing",
        },
    )
