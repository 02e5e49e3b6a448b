"""Writes the readable result: TID 2000 (PS3.16 A), Enhanced SR, or Comprehensive SR with codes.

In: any analysis that did not fail. Out: one document in the node's language: what was found, how
sure, the reason or "not assessed because", how urgent, the notes, the draft impression with what
each part of it rests on, and, where a site asks for it, the summary for the patient as a section
of its own. Where no TID 1500 goes out with it, the coded states stand here. The first line of each
text is the label. Never: markup (a text stays text), a line too long for viewers, a sentence that
sounds final.
"""

from __future__ import annotations

from datetime import datetime

from highdicom.sr import ContentItem
from pydicom.dataset import Dataset
from pydicom.uid import ComprehensiveSRStorage, EnhancedSRStorage

from processors.analysis import Analysis, Study
from reports import codes, content, draft, sr_document, sr_items
from reports.model import Options, Report


def write(
    analysis: Analysis, study: Study, options: Options, made_at: datetime
) -> tuple[Report, ...]:
    """The text report."""
    states = _states(analysis, options)
    sop_class = ComprehensiveSRStorage if states else EnhancedSRStorage
    document = sr_document.Document(
        "text_report", str(sop_class), _root(analysis, study, options, states)
    )
    return (sr_document.report(document, analysis, study, options, made_at),)


def _states(analysis: Analysis, options: Options) -> list[ContentItem]:
    """The coded states, where no structured report carries them."""
    if "structured_report" in content.written(options, analysis):
        return []
    held = [finding for finding, _ in content.groups(analysis)]
    return [sr_items.evaluation(f) for f in [*held, *content.ungrouped(analysis)]]


def _root(
    analysis: Analysis, study: Study, options: Options, states: list[ContentItem]
) -> ContentItem:
    sources = content.sources(analysis, study)
    headers = [study.header(uid) for uid in sources]
    pictures = sr_document.picture_evidence(analysis, study, options, sources)
    lines = [options.label, *draft.urgency_lines(analysis, options)]
    found = content.folded(iter([*lines, *content.report_lines(analysis, options)]))
    items: list[ContentItem] = [
        sr_items.language_item(options),
        sr_items.procedure_item(headers[0]),
        *sr_items.observer(analysis, options),
        sr_items.container(
            "findings",
            [_finding(found, headers, pictures), *states],
            "CONTAINS",
            is_content_continuous=False,
        ),
    ]
    drafted = [_passage(one, options) for one in draft.passages(analysis)]
    if drafted:
        items.append(
            sr_items.container("impressions", drafted, "CONTAINS", is_content_continuous=False)
        )
    if analysis.patient_summary:
        words = f"{options.label}\n{analysis.patient_summary}"
        item = sr_items.text("patient_summary", words)
        items.append(
            sr_items.container("patient_summary", [item], "CONTAINS", is_content_continuous=False)
        )
    return sr_items.container(
        "diagnostic_report", items, None, template_id="2000", is_content_continuous=False
    )


def _finding(found: str, headers: list[Dataset], pictures: list[Dataset]) -> ContentItem:
    """The text with its images below it; beside it in the container they would spoil the page."""
    item = sr_items.text("finding", found)
    images = [sr_items.image("measured_on", one, "INFERRED FROM") for one in headers]
    images += [sr_items.image("illustration", one, "INFERRED FROM") for one in pictures]
    return sr_items.with_children(item, images)


def _passage(passage: draft.Passage, options: Options) -> ContentItem:
    """A part of the draft, inferred from the states of the findings that it rests on."""
    lines = [options.label, passage.text, draft.passage_line(passage, options)]
    item = sr_items.text("impression", "\n".join(line for line in lines if line))
    coded = [finding for finding in passage.findings if codes.usable(finding.code)]
    return sr_items.with_children(item, [sr_items.state(f, "INFERRED FROM") for f in coded])
