"""Turns rows into the frozen records that leave this room."""

from __future__ import annotations

from typing import Any

from storage.records import (
    AgreementRecord,
    Delivery,
    DeliveryState,
    Identity,
    MessageKind,
    MessageRecord,
    MessageState,
    ReportRecord,
    Run,
    RunState,
    StoredInstance,
    StudyRecord,
    StudyState,
)


def study(row: Any) -> StudyRecord:
    """A row of studies."""
    return StudyRecord(
        uid=row.uid,
        state=StudyState(row.state),
        identity=Identity(
            study_uid=row.uid,
            patient_id=row.patient_id,
            issuer=row.issuer,
            patient_name=row.patient_name,
            birth_date=row.birth_date,
            accession=row.accession,
        ),
        reason=row.reason,
        first_received=row.first_received,
        last_received=row.last_received,
        instances=row.instances,
        planned_instances=row.planned_instances,
        trace=tuple(row.trace),
    )


def instance(row: Any) -> StoredInstance:
    """A row of instances."""
    return StoredInstance(
        sop_uid=row.sop_uid,
        sop_class=row.sop_class,
        transfer_syntax=row.transfer_syntax,
        series_uid=row.series_uid,
        study_uid=row.study_uid,
        sha256=row.sha256,
        size=row.size,
        path=row.path,
        calling_ae=row.calling_ae,
        address=row.address,
        headers=row.headers,
        received_at=row.received_at,
        repeats=row.repeats,
    )


def run(row: Any) -> Run:
    """A row of runs."""
    return Run(
        id=row.id,
        study_uid=row.study_uid,
        processor=row.processor,
        digest=row.digest,
        mode=row.mode,
        state=RunState(row.state),
        instances=tuple(row.instances),
        attempt=row.attempt,
        owner=row.owner,
        beat=row.beat,
        reason=row.reason,
        created_at=row.created_at,
        started_at=row.started_at,
        ended_at=row.ended_at,
        predecessor=row.predecessor,
        urgent=row.urgent,
        tries=row.tries,
    )


def report(row: Any) -> ReportRecord:
    """A row of reports."""
    return ReportRecord(
        id=row.id,
        run_id=row.run_id,
        kind=row.kind,
        index=row.idx,
        uid=row.uid,
        sha256=row.sha256,
        size=row.size,
        path=row.path,
        sop_class=row.sop_class,
    )


def delivery(row: Any, of: ReportRecord) -> Delivery:
    """A row of deliveries with the report it carries."""
    return Delivery(
        id=row.id,
        run_id=row.run_id,
        study_uid=row.study_uid,
        report=of,
        destination=row.destination,
        state=DeliveryState(row.state),
        attempts=row.attempts,
        next_try=row.next_try,
        first_try=row.first_try,
        created_at=row.created_at,
        ended_at=row.ended_at,
        answer=row.answer,
    )


def message(row: Any) -> MessageRecord:
    """A row of messages."""
    return MessageRecord(
        id=row.id,
        sender=row.sender,
        control_id=row.control_id,
        sha256=row.sha256,
        size=row.size,
        path=row.path,
        kind=MessageKind(row.kind),
        state=MessageState(row.state),
        reason=row.reason,
        study_uid=row.study_uid or "",
        run_id=row.run_id,
        address=row.address,
        received_at=row.received_at,
        repeats=row.repeats,
    )


def agreement(row: Any) -> AgreementRecord:
    """A row of agreements."""
    return AgreementRecord(
        run_id=row.run_id,
        draft_run_id=row.draft_run_id,
        study_uid=row.study_uid,
        reader=row.reader,
        language=row.language,
        figures=row.figures,
        findings=row.findings,
        draft=row.draft,
        impression=row.impression,
        received_at=row.received_at,
    )
