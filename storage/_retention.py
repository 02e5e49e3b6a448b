"""Decides which reports may lose their file: old ones of which nothing is undelivered.

Their rows stay, since their UIDs must be known as ours for ever (the loop guard asks).
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import exists, select, update

from storage.database import Transaction
from storage.records import AuditEntry, DeliveryState
from storage.tables import deliveries, reports, runs


def forget_reports(transaction: Transaction, before: datetime, limit: int) -> tuple[str, ...]:
    """Purge reports as `Runs.forget_reports` says; returns the paths that no report needs now."""
    connection = transaction.connection
    open_states = (DeliveryState.WAITING, DeliveryState.SENDING, DeliveryState.HELD)
    going = exists().where(
        deliveries.c.report_id == reports.c.id, deliveries.c.state.in_(open_states)
    )
    old = connection.execute(
        select(reports.c.id, reports.c.path, runs.c.study_uid)
        .join_from(reports, runs)
        .where(reports.c.purged_at.is_(None), reports.c.made_at < before, ~going)
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
