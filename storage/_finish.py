"""Ends one run: everything it made becomes visible in one transaction, or nothing does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, delete, exists, insert, select, update

from storage._plain import plain, text
from storage.database import Transaction
from storage.errors import LeaseLost
from storage.records import AuditEntry, DeliveryState, NewReport, Run, RunState
from storage.tables import analyses, deliveries, reports, runs

ENDS = {
    RunState.COMPLETED: 0,
    RunState.UNSUITABLE: 0,
    RunState.FAILED: 8,
    RunState.SET_ASIDE: 8,
}  # the states a worker may end in, with their outcome in the audit


@dataclass(frozen=True, slots=True)
class Result:
    """What `Runs.finish` was given."""

    state: RunState
    reason: str
    analysis: Mapping[str, Any] | None
    reports: tuple[NewReport, ...]


def fence(run: Run) -> tuple[ColumnElement[bool], ...]:
    """True in the tables only while this very claim holds the run."""
    return (
        runs.c.id == run.id,
        runs.c.state == RunState.RUNNING,
        runs.c.owner == run.owner,
        runs.c.attempt == run.attempt,
    )


def finish(transaction: Transaction, run: Run, result: Result) -> None:
    """Enter the result behind the fence; raises LeaseLost before anything is written.

    A run may have become a shadow of itself since it was planned, never the other way round.
    """
    if result.state not in ENDS:
        raise ValueError(f"a worker cannot end a run as {result.state.value}")
    connection = transaction.connection
    values = {"state": result.state, "reason": text(result.reason), "ended_at": transaction.now}
    if run.mode == "shadow":
        values["mode"] = run.mode
    if connection.execute(update(runs).where(*fence(run)).values(values)).rowcount != 1:
        raise LeaseLost(
            f"Run {run.id}, attempt {run.attempt}, is no longer ours.",
            then="Its result is dropped.",
        )
    if result.analysis is not None:
        content = {"run_id": run.id, "content": plain(result.analysis)}
        connection.execute(insert(analyses).values(**content, made_at=transaction.now))
    for report in result.reports:
        _file(transaction, run, report)
    transaction.audit(_event(run, result))


def _file(transaction: Transaction, run: Run, report: NewReport) -> None:
    connection, now = transaction.connection, transaction.now
    report_id = connection.scalar(
        insert(reports)
        .values(
            run_id=run.id,
            kind=report.kind,
            idx=report.index,
            uid=report.uid,
            sha256=report.sha256,
            size=report.size,
            path=report.path,
            sop_class=report.sop_class,
            made_at=now,
        )
        .returning(reports.c.id)
    )
    rows = [
        {
            "report_id": report_id,
            "run_id": run.id,
            "study_uid": run.study_uid,
            "destination": destination,
            "state": DeliveryState.WAITING,
            "attempts": 0,
            "next_try": now,
            "created_at": now,
            "answer": "",
        }
        for destination in dict.fromkeys(report.destinations)
    ]
    if rows:
        connection.execute(insert(deliveries), rows)


def drop(transaction: Transaction, run_id: int) -> bool:
    """Remove what a run wrote that is wanted once more; False if some of it has been delivered."""
    connection, mine = transaction.connection, deliveries.c.run_id == run_id
    gone = (DeliveryState.DELIVERED, DeliveryState.SENDING)
    if connection.scalar(select(exists().where(mine, deliveries.c.state.in_(gone)))):
        return False
    connection.execute(delete(deliveries).where(mine))
    connection.execute(delete(reports).where(reports.c.run_id == run_id))
    connection.execute(delete(analyses).where(analyses.c.run_id == run_id))
    return True


def _event(run: Run, result: Result) -> AuditEntry:
    details = {
        "run": run.id,
        "processor": run.processor,
        "attempt": run.attempt,
        "reason": result.reason,
        "reports": [report.uid for report in result.reports],
    }
    kind, outcome = f"run.{result.state.value}", ENDS[result.state]
    return AuditEntry("110100", "E", outcome, kind, run.study_uid, details=details)
