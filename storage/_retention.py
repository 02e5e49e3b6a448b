"""Decides which reports may lose their file, and which studies what they say of a patient.

Reports that are old and of which nothing is undelivered, nor delivered without the commitment
that was to follow; their rows stay, since their UIDs must be known as ours for ever (the loop
guard asks). Studies of which neither an instance nor a report is left: their row keeps UID, states
and times for the books, and nothing that names anybody.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, delete, exists, func, or_, select, update

from storage.database import Transaction
from storage.records import AuditEntry, CommitmentState, DeliveryState, StudyState
from storage.tables import analyses, commitments, deliveries, instances, reports, runs, studies

NAMING = ("patient_id", "issuer", "patient_name", "birth_date", "accession")  # of a study's row
UNDELIVERED = (DeliveryState.WAITING, DeliveryState.SENDING, DeliveryState.HELD)


def forget_reports(transaction: Transaction, before: datetime, limit: int) -> tuple[str, ...]:
    """Purge reports as `Runs.forget_reports` says; returns the paths that no report needs now."""
    connection = transaction.connection
    going = exists().where(
        deliveries.c.report_id == reports.c.id, deliveries.c.state.in_(UNDELIVERED)
    )
    old = connection.execute(
        select(reports.c.id, reports.c.path, runs.c.study_uid)
        .join_from(reports, runs)
        .where(reports.c.purged_at.is_(None), reports.c.made_at < before, ~going, ~_uncommitted())
        .order_by(reports.c.made_at)
        .limit(limit)
    ).all()
    for start in range(0, len(old), 500):
        ids = [row.id for row in old[start : start + 500]]
        values = {"purged_at": transaction.now}
        connection.execute(update(reports).where(reports.c.id.in_(ids)).values(values))
    for uid in dict.fromkeys(row.study_uid for row in old):
        details = {"reports": sum(row.study_uid == uid for row in old)}
        transaction.audit(AuditEntry("110105", "D", 0, "retention.reports", uid, details=details))
    paths = dict.fromkeys(row.path for row in old)
    still = reports.c.purged_at.is_(None)
    return tuple(
        path
        for path in paths
        if not connection.scalar(select(exists().where(reports.c.path == path, still)))
    )


def _uncommitted() -> ColumnElement[bool]:
    """A destination that was to commit to the report has not: our copy may be the only one."""
    return exists().where(
        deliveries.c.report_id == reports.c.id,
        commitments.c.delivery_id == deliveries.c.id,
        commitments.c.state != CommitmentState.COMMITTED,
    )


def blank(transaction: Transaction, before: datetime, limit: int) -> int:
    """Forget whom studies are of, as `Studies.blank` says; returns how many."""
    connection = transaction.connection
    uids: Sequence[str] = connection.scalars(_nothing_left(before).limit(limit)).all()
    for uid in uids:
        mine = select(runs.c.id).where(runs.c.study_uid == uid)
        gone = connection.execute(delete(analyses).where(analyses.c.run_id.in_(mine))).rowcount
        values = dict.fromkeys(NAMING, "")
        connection.execute(update(studies).where(studies.c.uid == uid).values(values))
        answers = update(deliveries).where(deliveries.c.study_uid == uid)
        connection.execute(answers.values(answer=""))  # a peer may quote what we sent
        details = {"analyses": gone}
        transaction.audit(AuditEntry("110105", "D", 0, "retention.identity", uid, details=details))
    return len(uids)


def _nothing_left(before: datetime) -> Select[Any]:
    mine, study = runs.c.study_uid == studies.c.uid, studies.c.uid
    going = (deliveries.c.study_uid == study, deliveries.c.state.in_(UNDELIVERED))
    return (
        select(study)
        .where(studies.c.state == StudyState.SETTLED, studies.c.last_received < before)
        .where(~exists().where(instances.c.study_uid == study))
        .where(~exists().where(mine, func.coalesce(runs.c.ended_at, before) >= before))
        .where(~exists().where(mine, reports.c.run_id == runs.c.id, reports.c.purged_at.is_(None)))
        .where(~exists().where(*going))
        .where(
            or_(
                *(studies.c[name] != "" for name in NAMING),
                exists().where(mine, analyses.c.run_id == runs.c.id),
            )
        )
        .order_by(studies.c.last_received)
        .with_for_update(of=studies)
    )
