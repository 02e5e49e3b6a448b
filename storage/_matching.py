"""Decides which study a received report is about, and whether it is of the same patient.

By what the message names, in this order: its Study Instance UID (but for a second order of that
study, which is kept by its own numbers); an accession number that exactly
one received study of this patient has; an order number of earlier findings of this patient; else a
key made of patient and order. A final report looks for its draft's order first, since that may have
been made before the study was known. Never: a match by name, or across patients.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, exists, false, or_, select

from storage._intake import patient, same_patient
from storage._plain import text
from storage.database import Transaction
from storage.records import (
    AGREEMENT,
    IMPRESSIONS,
    ORDER,
    MessageKind,
    MessageState,
    NewMessage,
)
from storage.tables import messages, runs, studies

OTHER_PATIENT = "the message names another patient than its study"
OTHER_BIRTH_DATE = "the message gives another birth date than its study"
_MOST = 20  # studies or messages of one order that are looked at


def study_of(transaction: Transaction, new: NewMessage) -> str:
    """The study that a message is about; one of another patient only where it names it itself."""
    named = text(new.identity.study_uid)
    final = new.kind is MessageKind.FINAL
    second = bool(named) and _is_a_second_order(transaction, named, new)
    if named and not second and (not final or has_runs(transaction, named)):
        return named
    same_order = _of_same_order(transaction, new)
    if named:  # its draft may have been made when only the order was known
        otherwise = _order_key(new) if second else named
        return next((uid for uid in same_order if uid.startswith(ORDER)), otherwise)
    by_accession = _with_accession(transaction, new)
    found = [*same_order, *by_accession] if final else [*by_accession, *same_order]
    own = (uid for uid in found if not _is_a_second_order(transaction, uid, new))
    return next(own, _order_key(new))


def _is_a_second_order(transaction: Transaction, named: str, new: NewMessage) -> bool:
    """Whether the study was dictated under another accession number, its own, or another filler's
    number already.

    One examination may be of two orders with a report each. The second is kept by its order: in
    the study its draft would go out under the other's numbers, and say to replace it.
    """
    accession, connection = text(new.identity.accession).strip(), transaction.connection
    study = connection.execute(select(studies).where(studies.c.uid == named)).one_or_none()
    if study is None or not _is_one_of(study, new):
        return False
    same = (messages.c.study_uid == named, messages.c.kind == MessageKind.FINDINGS)
    fillers = set(connection.scalars(select(messages.c.filler).where(*same))) - {""}
    if new.filler and fillers:
        return text(new.filler) not in fillers
    if not accession or study.accession.strip() in ("", accession):
        return False
    dictated = exists().where(*same, messages.c.accession == study.accession)
    return bool(connection.scalar(select(dictated)))


def _of_same_order(transaction: Transaction, new: NewMessage) -> list[str]:
    """The studies of earlier findings with an order number of this message, newest first.

    One order of the placer's may be of several examinations, each with numbers of its own.
    """
    own = {"filler": text(new.filler), "accession": text(new.identity.accession)}
    alike = [messages.c[name] == number for name, number in own.items() if number]
    if new.filler:  # one accession number may be of several orders, each with its filler's number
        alike = [and_(one, messages.c.filler.in_(("", own["filler"]))) for one in alike]
    if new.placer:
        silent = (messages.c[name] == "" for name, number in own.items() if number)
        alike.append(and_(messages.c.placer == text(new.placer), *silent))
    if not alike:
        return []
    rows = transaction.connection.execute(
        select(studies)
        .join_from(messages, studies)
        .where(or_(*alike), messages.c.kind == MessageKind.FINDINGS)
        .order_by(messages.c.id.desc())
        .limit(_MOST)
    ).all()
    return list(dict.fromkeys(row.uid for row in rows if _is_one_of(row, new)))


def overtaken(transaction: Transaction, uid: str, new: NewMessage) -> str:
    """Why these findings come too late: what was written after them, about the same order, came
    before (an engine sent its queue again, or in another order); "" where nobody can say.
    """
    if new.written is None:
        return ""
    numbers = {"accession": new.identity.accession, "filler": new.filler, "placer": new.placer}
    column, alike = messages.c, [messages.c[name] == text(no) for name, no in numbers.items() if no]
    stray = and_(  # a final report that found no study: its sender's numbers say of what it is
        column.kind == MessageKind.FINAL,
        column.study_uid.is_(None),
        column.sender == text(new.sender),
        or_(false(), *alike),
    )
    rows = transaction.connection.execute(
        select(column.id, column.kind, column.written, *(column[name] for name in numbers))
        .where(or_(column.study_uid == uid, stray), column.written.is_not(None))
        .where(column.state.in_((MessageState.TAKEN, MessageState.UNMATCHED)))
        .order_by(column.id.desc())
        .limit(_MOST)
    ).all()
    for row in rows:
        differs = any(
            row._mapping[name] not in ("", text(no)) for name, no in numbers.items() if no
        )
        if not differs and _is_later(datetime.fromisoformat(row.written), new.written):
            what = "the final report" if row.kind == MessageKind.FINAL else "newer findings"
            return f"{what} came before (message {row.id}, written later)"
    return ""


def _is_later(one: datetime, other: datetime) -> bool:
    """Two times of which only one names its offset are not compared."""
    return (one.tzinfo is None) == (other.tzinfo is None) and one > other


def final_behind(run_id: int) -> ColumnElement[bool]:
    """In SQL: a final report of the same order came after the findings that the run read."""
    said, final = messages.alias("said"), messages.alias("final")
    names = ("accession", "filler", "placer")
    alike = (or_(said.c[n] == "", final.c[n].in_(("", said.c[n]))) for n in names)
    by_message = exists().where(
        said.c.run_id == run_id,
        said.c.kind == MessageKind.FINDINGS,
        final.c.kind == MessageKind.FINAL,
        final.c.state == MessageState.TAKEN,
        final.c.study_uid == said.c.study_uid,
        final.c.id > said.c.id,
        *alike,
    )
    own, compared = runs.alias("own"), runs.alias("compared")
    told, signed = (exists().where(messages.c.run_id == run.c.id) for run in (own, compared))
    by_report = exists().where(  # one of the two is an SR, and has no number to be told apart by
        own.c.id == run_id,
        own.c.processor == IMPRESSIONS,
        compared.c.processor == AGREEMENT,
        compared.c.study_uid == own.c.study_uid,
        compared.c.id > own.c.id,
        ~and_(told, signed),
    )
    return or_(by_message, by_report)


def _with_accession(transaction: Transaction, new: NewMessage) -> list[str]:
    """The one received study of this patient with the accession number; none if there are two."""
    accession = text(new.identity.accession)
    if not accession:
        return []
    rows = transaction.connection.execute(
        select(studies)
        .where(studies.c.accession == accession, studies.c.instances > 0)
        .limit(_MOST)
    ).all()
    found = [row.uid for row in rows if _is_one_of(row, new)]
    return found if len(found) == 1 else []


def _order_key(new: NewMessage) -> str:
    """A study's key made of patient and order, for what names no study."""
    number = new.filler or new.identity.accession or new.placer
    own = (new.identity.patient_id, number) if number else (new.sender, new.control_id)
    return ORDER + hashlib.sha256("\n".join(own).encode("utf-8", "replace")).hexdigest()[:40]


def _is_one_of(study: Row[Any], new: NewMessage) -> bool:
    return any(same_patient(patient(study), one) for one in new.patients)


def other_patient(study: Row[Any], new: NewMessage) -> str:
    """Why the message is not of the study's patient, or ''."""
    if not _is_one_of(study, new):
        return OTHER_PATIENT
    dates = {study.birth_date, new.identity.birth_date} - {""}
    return OTHER_BIRTH_DATE if len(dates) > 1 else ""


def has_runs(transaction: Transaction, uid: str) -> bool:
    found = exists().where(runs.c.study_uid == uid, runs.c.processor != AGREEMENT)
    return bool(transaction.connection.scalar(select(found)))
