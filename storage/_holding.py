"""What a person decides about a held study: it may go on, or an instance of it does not count.

A release cannot help while the instances that count name two patients: every report would be of
the wrong one of them. One that a person leaves out stays filed, so that its repeat is known and
retention takes it with the others; its ordinal is below zero and it counts nowhere. What rests on
it is neither finished nor sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

from sqlalchemy import func, select, update

from storage._finish import drop
from storage._intake import corrections, lock, one_patient
from storage.database import Transaction
from storage.records import (
    UNFINISHED,
    AuditEntry,
    DeliveryState,
    Identity,
    RunState,
    StudyState,
)
from storage.tables import deliveries, instances, messages, runs, studies

TWO_PATIENTS = (
    "the images name two patients: see which with `dictamen studies show`, leave those of the "
    "wrong one out with `dictamen studies retry STUDY --without SOP_UID`"
)
LEFT_OUT = "an instance was left out"  # of a run: nothing that it made may leave any more
RESTS_ON_IT = "not sent: an image that it rests on was left out"
_GONE = (DeliveryState.DELIVERED, DeliveryState.SENDING)
_KEYWORDS = {
    "patient_id": "PatientID",
    "issuer": "IssuerOfPatientID",
    "patient_name": "PatientName",
    "birth_date": "PatientBirthDate",
    "accession": "AccessionNumber",
}


def release(transaction: Transaction, uid: str, who: str) -> bool:
    """See `Studies.release`. What was set aside while it was held is to be planned again."""
    study = lock(transaction, uid)
    if study is None or study.state != StudyState.HELD:
        return False
    mine = (instances.c.study_uid == uid, instances.c.ordinal >= 0)
    rows = transaction.connection.execute(
        select(instances.c.headers).where(*mine).order_by(instances.c.id)
    ).all()
    said = [(_identity(uid, row.headers), row.headers) for row in rows]
    if not all(one_patient(*two) for two in combinations({identity for identity, _ in said}, 2)):
        _set(transaction, uid, {"reason": TWO_PATIENTS})
        details = {"reason": TWO_PATIENTS}
        transaction.audit(
            AuditEntry("110100", "E", 4, "study.not_released", uid, who, details=details)
        )
        return False
    values = {"state": StudyState.OPEN if said else StudyState.SETTLED, "reason": ""}
    if not all(one_patient(study, identity) for identity, _ in said):
        values |= _newest(said)  # the first instance named the wrong one, and was left out
    _set(transaction, uid, values)
    _plan_again(transaction, uid)
    details = {"reason": study.reason}
    transaction.audit(AuditEntry("110100", "E", 0, "study.released", uid, who, details=details))
    return True


def exclude(transaction: Transaction, uid: str, sop_uid: str, who: str) -> bool:
    """See `Studies.exclude`."""
    study = lock(transaction, uid)
    if study is None or study.state != StudyState.HELD:
        return False
    connection, column = transaction.connection, instances.c
    mine = (column.study_uid == uid, column.sop_uid == sop_uid, column.ordinal >= 0)
    found = connection.scalars(select(column.id).where(*mine).order_by(column.ordinal)).all()
    lowest = connection.scalar(select(func.min(column.ordinal)).where(column.sop_uid == sop_uid))
    for place, row_id in enumerate(found, 1):
        values = {"ordinal": min(lowest or 0, 0) - place}
        connection.execute(update(instances).where(column.id == row_id).values(values))
    if found:
        _set(transaction, uid, {"instances": studies.c.instances - len(found)})
        details = {"sop_uid": sop_uid, "contents": len(found)}
        transaction.audit(
            AuditEntry("110103", "D", 0, "instance.excluded", uid, who, details=details)
        )
        _stop_what_read(transaction, uid, sop_uid)
    return bool(found)


def _stop_what_read(transaction: Transaction, uid: str, sop_uid: str) -> None:
    connection, at = transaction.connection, transaction.now
    rows = connection.execute(select(runs).where(runs.c.study_uid == uid).order_by(runs.c.id)).all()
    read = [row for row in rows if sop_uid in row.instances]
    ids = [row.id for row in read]
    connection.execute(update(runs).where(runs.c.id.in_(ids)).values(reason=LEFT_OUT))
    over = {"state": RunState.SUPERSEDED, "ended_at": at}
    for row in read:
        going = update(runs).where(runs.c.id == row.id, runs.c.state.in_(UNFINISHED))
        if connection.execute(going.values(over)).rowcount == 1:
            details = {"run": row.id, "processor": row.processor}
            transaction.audit(AuditEntry("110100", "E", 0, "run.superseded", uid, details=details))
    stopped = {"state": DeliveryState.REJECTED, "answer": RESTS_ON_IT, "ended_at": at}
    ended = connection.scalars(
        update(deliveries)
        .where(deliveries.c.run_id.in_(ids), deliveries.c.state.not_in(_GONE))
        .values(stopped)
        .returning(deliveries.c.id)
    ).all()
    if ended:
        details = {"deliveries": sorted(ended), "answer": RESTS_ON_IT}
        transaction.audit(AuditEntry("110100", "E", 8, "delivery.rejected", uid, details=details))


def _set(transaction: Transaction, uid: str, values: dict[str, Any]) -> None:
    transaction.connection.execute(update(studies).where(studies.c.uid == uid).values(values))


def _identity(uid: str, headers: dict[str, Any]) -> Identity:
    def said(keyword: str) -> str:
        value = headers.get(keyword) or ""
        return "\\".join(map(str, value)) if isinstance(value, list) else str(value)

    return Identity(uid, **{field: said(keyword) for field, keyword in _KEYWORDS.items()})


def _newest(said: Sequence[tuple[Identity, dict[str, Any]]]) -> dict[str, str]:
    first = said[0][0]
    values = {field: getattr(first, field) for field in _KEYWORDS}
    for identity, headers in said[1:]:
        values |= corrections(identity, headers)
    return values


def _plan_again(transaction: Transaction, uid: str) -> None:
    """A superseded run becomes ready when routing wants it again, one that is set aside not; and
    one that still waits may read what was left out.

    Nobody plans the run over a message again: set aside, it is ready at once, if it is the newest
    of its kind and its message was not held.
    """
    connection = transaction.connection
    newest = select(func.max(runs.c.id)).where(runs.c.study_uid == uid).group_by(runs.c.processor)
    read = set(connection.scalars(select(messages.c.run_id).where(messages.c.run_id.in_(newest))))
    stopped = (RunState.SET_ASIDE, RunState.READY, RunState.WAITING)
    mine = (runs.c.study_uid == uid, runs.c.state.in_(stopped))
    for row in connection.execute(select(runs).where(*mine).order_by(runs.c.id)).all():
        over_text = not row.instances
        if (over_text and row.state != RunState.SET_ASIDE) or not drop(transaction, row.id):
            continue
        values: dict[str, Any] = {"reason": "the study was released"}
        if row.id in read:
            values |= {"state": RunState.READY, "tries": 0, "owner": "", "ended_at": None}
        else:
            values["state"] = RunState.SUPERSEDED
        connection.execute(update(runs).where(runs.c.id == row.id).values(values))
        details = {"run": row.id, "processor": row.processor}
        kind = "run.retried" if row.id in read else "run.superseded"
        transaction.audit(AuditEntry("110100", "E", 0, kind, uid, details=details))
