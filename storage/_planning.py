"""Decides what a new plan does to the runs that a study has already.

The same content is never judged twice by the same processor, but where the newest answer rests on
what was left out since; other content supersedes what has not ended, and its run names as
predecessor the newest live one that ended with an answer. None after retention took the images:
what is sent again may be a part of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Row, exists, insert, select, update

from storage import _rows
from storage._intake import lock, patient_hash
from storage._plain import plain
from storage._retention import NAMING
from storage.database import Transaction
from storage.records import (
    UNFINISHED,
    AuditEntry,
    DeliveryState,
    PlannedRun,
    Run,
    RunState,
    StudyState,
)
from storage.tables import deliveries, instances, messages, runs, studies

ANSWERED = (RunState.COMPLETED, RunState.UNSUITABLE)
_CONTENT = 54  # characters of a digest that say what is read; behind them, how it is named anew


@dataclass(frozen=True, slots=True)
class Wish:
    """What routing asks for, see `Studies.plan`."""

    runs: tuple[PlannedRun, ...]
    trace: tuple[Mapping[str, Any], ...]
    instances_seen: int
    done: bool
    at: datetime


def plan(transaction: Transaction, uid: str, wish: Wish) -> tuple[Run, ...]:
    """Enter the wish; returns the runs that are new or wanted again."""
    study = lock(transaction, uid)
    if study is None or study.state == StudyState.HELD:
        return ()
    known = transaction.connection.execute(
        select(runs).where(runs.c.study_uid == uid).order_by(runs.c.id).with_for_update()
    ).all()
    fresh = [
        run
        for planned in wish.runs
        if (run := _enter(transaction, study, planned, known, wish.at)) is not None
    ]
    values: dict[str, Any] = {"trace": plain(wish.trace)}
    if wish.done and study.instances == wish.instances_seen and study.state == StudyState.OPEN:
        values |= {"state": StudyState.SETTLED, "planned_instances": wish.instances_seen}
        transaction.audit(_event("study.settled", uid, {"instances": wish.instances_seen}))
    transaction.connection.execute(update(studies).where(studies.c.uid == uid).values(values))
    return tuple(fresh)


def plan_one(transaction: Transaction, study: Row[Any], planned: PlannedRun, at: datetime) -> int:
    """Enter one run beside what routing plans; returns its number, known or new.

    What came before the newest and comes again is wanted again: it gets a run of its own. So is
    what was set aside because its study was another patient's then: no message is its own any more.
    """
    mine = (runs.c.study_uid == study.uid, runs.c.processor == planned.processor)
    known = transaction.connection.execute(
        select(runs).where(*mine).order_by(runs.c.id).with_for_update()
    ).all()
    planned = replace(planned, digest=_once_more(planned.digest, known))
    if run := _enter(transaction, study, planned, known, at):
        return run.id
    same = next(row for row in reversed(known) if _alike(row.digest, planned.digest))
    read = exists().where(messages.c.run_id == same.id)
    if same.state == RunState.SET_ASIDE and not transaction.connection.scalar(select(read)):
        run = _revive(transaction, same, planned.mode)
        transaction.audit(_planned(run))
    return int(same.id)


def renew(transaction: Transaction, run_id: int) -> int | None:
    """The run that writes the result of `run_id` again, under what its study's row says now.

    A newer one of the same processor, or one that is planned here; None where there is nothing to
    be done: this very run was planned for these words already, so its writer is at fault; what it
    read is gone; or the newer one is in shadow, and sends nothing.
    """
    connection = transaction.connection
    old = connection.execute(select(runs).where(runs.c.id == run_id)).one_or_none()
    study = None if old is None else lock(transaction, old.study_uid)
    if old is None or study is None or study.state == StudyState.HELD:
        return None
    mine = (runs.c.study_uid == study.uid, runs.c.processor == old.processor)
    known = connection.execute(
        select(runs).where(*mine).order_by(runs.c.id).with_for_update()
    ).all()
    newest = [row for row in known if row.state != RunState.SUPERSEDED or row.id == run_id][-1]
    if newest.id != run_id:
        return int(newest.id) if newest.mode == old.mode else None
    if not _readable(transaction, old):
        return None
    words = patient_hash(transaction.key, tuple(getattr(study, name) for name in NAMING))
    digest = _anew(old.digest, words)
    if digest in {row.digest for row in known}:
        return None
    planned = PlannedRun(
        old.processor, digest, tuple(old.instances), mode=old.mode, urgent=old.urgent
    )
    sent = (deliveries.c.run_id == old.id, deliveries.c.state == DeliveryState.DELIVERED)
    came = exists().where(*sent)  # what is being sent now is what is stopped here
    replaced = old.id if connection.scalar(select(came)) else old.predecessor
    run = _insert(transaction, study.uid, planned, replaced, transaction.now)
    connection.execute(update(messages).where(messages.c.run_id == old.id).values(run_id=run.id))
    details = {"run": run.id, "processor": run.processor, "digest": digest, "writes_again": old.id}
    transaction.audit(_event("run.planned", study.uid, details))
    return run.id


def _readable(transaction: Transaction, run: Row[Any]) -> bool:
    """Whether what the run read is still there and counts: its images, or its message."""
    own, kept = instances.c, messages.c
    if not run.instances:
        text_kept = exists().where(kept.run_id == run.id, kept.path != "")
        return bool(transaction.connection.scalar(select(text_kept)))
    mine = select(own.sop_uid).where(own.study_uid == run.study_uid, own.ordinal >= 0)
    return set(run.instances) <= set(transaction.connection.scalars(mine))


def _alike(one: str, other: str) -> bool:
    """Whether two digests are of the same content."""
    return _content(one) == _content(other)


def _content(digest: str) -> str:
    return digest.partition("~")[0][:_CONTENT]


def _anew(digest: str, why: str) -> str:
    """The digest of a run over the same content that is wanted once more. why: hexadecimal."""
    return f"{_content(digest)}~{why[: 63 - _CONTENT]}"


def _once_more(digest: str, known: Sequence[Row[Any]]) -> str:
    """The digest of a run over what another content came after; as it is where none did."""
    if digest not in {row.digest for row in known[:-1]} or _alike(known[-1].digest, digest):
        return digest
    # what the newest run but one made of it, in case the newest one is its own repetition
    of_newest, new = (
        hashlib.sha256(f"{digest} after {row.id}".encode()).hexdigest() for row in known[-2:]
    )
    return of_newest if of_newest == known[-1].digest else new


def _enter(
    transaction: Transaction,
    study: Row[Any],
    planned: PlannedRun,
    known: Sequence[Row[Any]],
    at: datetime,
) -> Run | None:
    uid = study.uid
    mine = [row for row in known if row.processor == planned.processor]
    _supersede(transaction, [row for row in mine if not _alike(row.digest, planned.digest)], at)
    same = next((row for row in reversed(mine) if _alike(row.digest, planned.digest)), None)
    before = [row for row in mine if _may_be_replaced(row, study.forgotten_at)]
    older = before[-1] if before and planned.mode == "live" else None
    if same and older and older.id > same.id and set(older.instances) - set(planned.instances):
        why = hashlib.sha256(f"after {older.id}".encode()).hexdigest()
        planned, same = replace(planned, digest=_anew(planned.digest, why)), None
    if same is None:
        run = _insert(transaction, uid, planned, older.id if older else None, at)
    elif same.state == RunState.SUPERSEDED:
        run = _revive(transaction, same, planned.mode)
    else:
        return None
    transaction.audit(_planned(run))
    return run


def _may_be_replaced(row: Row[Any], forgotten: datetime | None) -> bool:
    """Whether this run's result was sent out, and of images that the new one can have seen."""
    seen = forgotten is None or row.created_at > forgotten
    return row.state in ANSWERED and row.mode == "live" and seen


def _supersede(transaction: Transaction, older: list[Row[Any]], at: datetime) -> None:
    for row in older:
        values = {"state": RunState.SUPERSEDED, "reason": "more instances came", "ended_at": at}
        done = transaction.connection.execute(
            update(runs).where(runs.c.id == row.id, runs.c.state.in_(UNFINISHED)).values(values)
        )
        if done.rowcount == 1:
            details = {"run": row.id, "processor": row.processor}
            transaction.audit(_event("run.superseded", row.study_uid, details))


def _insert(
    transaction: Transaction, uid: str, planned: PlannedRun, predecessor: int | None, at: datetime
) -> Run:
    row = transaction.connection.execute(
        insert(runs)
        .values(
            study_uid=uid,
            processor=planned.processor,
            digest=planned.digest,
            mode=planned.mode,
            state=RunState.READY,
            urgent=planned.urgent,
            instances=list(planned.instances),
            attempt=0,
            tries=0,
            owner="",
            beat=0,
            reason="",
            created_at=at,
            predecessor=predecessor,
        )
        .returning(runs)
    ).one()
    return _rows.run(row)


def _revive(transaction: Transaction, row: Row[Any], mode: str) -> Run:
    values = {"state": RunState.READY, "reason": "", "owner": "", "tries": 0, "ended_at": None}
    values["mode"] = mode  # it never ended, so what was meant for it then is not kept
    found = transaction.connection.execute(
        update(runs).where(runs.c.id == row.id).values(values).returning(runs)
    ).one()
    return _rows.run(found)


def _planned(run: Run) -> AuditEntry:
    details = {"run": run.id, "processor": run.processor, "digest": run.digest, "mode": run.mode}
    return _event("run.planned", run.study_uid, details)


def _event(kind: str, uid: str, details: Mapping[str, Any]) -> AuditEntry:
    return AuditEntry("110100", "E", 0, kind, uid, details=details)
