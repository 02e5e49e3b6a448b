"""One run over a final report: which draft its reader had, and how far the two agree.

In: a claimed run whose input is a final report. Out: a row of `agreements` and the run's end. The
draft is the newest live one of the study; while one is still being made, the run waits. Stored
twice after a kill in between, it is one row. Never: a report, a delivery, a reader's name unless
the site wants it.
"""

from __future__ import annotations

from typing import Any

import structlog

from dicom_node import metrics, narrative, pipeline
from dicom_node.drafts import LONGEST, Scribe
from dicom_node.events import Event
from processors.analysis import ProcessorError
from processors.impressions.agreement import compare
from storage import AgreementRecord, DraftFound, Run, RunState, Storage

NO_DRAFT = "no draft of this study was made here"
NO_IMPRESSION = "the final report has no impression section"
TOO_LONG = f"the final report's impression has more than {LONGEST} characters"
_WAITS = "a draft of this study is still being made"

log = structlog.get_logger()


def run(storage: Storage, claimed: Run, scribe: Scribe) -> RunState:
    """Carry one claimed run to its end. Raises LeaseLost if it is no longer ours."""
    found = storage.agreements.draft(claimed.study_uid)
    if found.run is None and found.waits:
        return pipeline.postpone(storage, claimed, _WAITS)
    try:
        text = narrative.of_claimed(storage, claimed, scribe.processing)
    except narrative.Disowned:
        return RunState.SET_ASIDE
    except ProcessorError as error:
        return _end(storage, claimed, RunState.FAILED, str(error))
    if found.run is None:
        return _end(storage, claimed, RunState.UNSUITABLE, NO_DRAFT)
    if not text.sections.impression:
        return _end(storage, claimed, RunState.UNSUITABLE, NO_IMPRESSION)
    if len(text.sections.impression) > LONGEST:
        return _end(storage, claimed, RunState.UNSUITABLE, TOO_LONG)
    draft = found.analysis["impression"]
    agreement = compare(draft["text"], text.sections.impression, draft["language"])
    figures = agreement.figures()
    storage.agreements.record(
        AgreementRecord(
            run_id=claimed.id,
            draft_run_id=found.run.id,
            study_uid=claimed.study_uid,
            reader=scribe.name_of_reader(text.reader) if text.reader else "",
            language=draft["language"],
            figures=figures,
            findings=text.sections.findings or _dictated(storage, found, scribe),
            draft=draft["text"],
            impression=text.sections.impression,
            received_at=text.received_at,
        )
    )
    metrics.count(Event.AGREEMENT_STORED)
    content = {"draft_run": found.run.id, "language": draft["language"], "figures": figures}
    return _end(storage, claimed, RunState.COMPLETED, "", content)


def _dictated(storage: Storage, found: DraftFound, scribe: Scribe) -> str:
    """The findings that the draft was made from, where the final report has none of its own."""
    if found.run is None:
        return ""
    try:
        return narrative.of_run(storage, found.run, scribe.processing).sections.findings
    except ProcessorError:  # made from images, or purged: the pair has no findings then
        return ""


def _end(
    storage: Storage,
    claimed: Run,
    state: RunState,
    reason: str,
    analysis: dict[str, Any] | None = None,
) -> RunState:
    storage.runs.finish(claimed, state=state, reason=reason, analysis=analysis, reports=())
    metrics.RUNS.labels(claimed.processor, claimed.mode, state.value).inc()
    log.info(Event.RUN_ENDED, processor=claimed.processor, mode=claimed.mode, status=state.value)
    return state
