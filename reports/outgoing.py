"""Which reports an analysis gives, and all of them at once (house rule "what goes out").

Present or undetermined: pictures, structured report if a finding has a region, segmentation if
there is a mask, text, message. All absent: text and message. Unsuitable: text or message with the
reason, as far as asked for. Failed: nothing. Never: a kind that was not asked for; a reference to a
document that is not written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime

from processors.analysis import Analysis, Status, Study
from reports import (
    content,
    header,
    hl7_oru,
    secondary_capture,
    segmentation,
    structured_report,
    text_report,
)
from reports.model import KINDS, Options, Report, ReportError
from reports.wording import words

Writer = Callable[[Analysis, Study, Options, datetime], tuple[Report, ...]]
_WRITERS: dict[str, Writer] = {
    "secondary_capture": secondary_capture.write,
    "structured_report": structured_report.write,
    "segmentation": segmentation.write,
    "text_report": text_report.write,
    "hl7_oru": hl7_oru.write,
}


def write_all(
    analysis: Analysis,
    study: Study,
    options: Options,
    made_at: datetime,
    kinds: Sequence[str],
) -> tuple[Report, ...]:
    """The reports of one analysis, in the order in which they should be sent.

    kinds: what is asked for, in the names of node.yaml. Raises IdentityUnclear if the patient's
    data do not decode surely, ReportError if analysis and study do not belong together.
    """
    each = write_each(analysis, study, options, made_at, kinds)
    return tuple(report for _, reports in each for report in reports)


def write_each(
    analysis: Analysis,
    study: Study,
    options: Options,
    made_at: datetime,
    kinds: Sequence[str],
) -> Iterator[tuple[str, tuple[Report, ...]]]:
    """As `write_all`, kind by kind, each written when it is asked for."""
    unknown = sorted(set(kinds) - set(KINDS))
    if unknown:
        raise ReportError(f"No writer is called {', '.join(unknown)}. Known: {', '.join(KINDS)}.")
    allowed = _allowed(analysis)
    wanted = tuple(kind for kind in KINDS if kind in kinds and kind in allowed)
    if not wanted:
        return
    companions = replace(options, companions=wanted)
    told = _told(analysis, study, companions)
    for kind in wanted:
        yield kind, _WRITERS[kind](told, study, companions, made_at)


def _allowed(analysis: Analysis) -> tuple[str, ...]:
    if analysis.status is Status.FAILED:
        return ()
    if analysis.status is Status.UNSUITABLE or not content.shows_something(analysis):
        return ("text_report", "hl7_oru")
    return tuple(kind for kind in KINDS if kind != "segmentation" or analysis.masks)


def _told(analysis: Analysis, study: Study, options: Options) -> Analysis:
    """The analysis with a note where a message was asked for and cannot be written."""
    identity = header.source(analysis, study, options).identity
    if "hl7_oru" in options.companions and options.receivers and hl7_oru.obstacle(identity):
        return replace(analysis, notes=(*analysis.notes, words(options.language).no_hl7))
    return analysis
