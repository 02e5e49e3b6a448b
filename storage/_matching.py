"""Decides which study a received report is about, and whether it is of the same patient.

By what the message names, in this order: its Study Instance UID (but for a second order of that
study, which is kept by its own numbers); an accession number that exactly
one received study of this patient has; an order number of earlier findings of this patient; else a
key made of patient and order. A final report looks for its draft's order first, since that may have
been made before the study was known. Never: a match by name, or across patients.
"""

from __future__ import annotations

import hashlib
from typing import Any

from sqlalchemy import Row, and_, exists, or_, select

from storage._intake import patient, same_patient
from storage._plain import text
from storage.database import Transaction
from storage.records import AGREEMENT, ORDER, MessageKind, NewMessage
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
    return found[0] if found else _order_key(new)


def _is_a_second_order(transaction: Transaction, named: str, new: NewMessage) -> bool:
    """Whether the study was dictated under another accession number, its own, already.

    One examination may be of two orders with a report each. The second is kept by its order: in
    the study its draft would go out under the other's accession number, and say to replace it.
    """
    accession, connection = text(new.identity.accession).strip(), transaction.connection
    study = connection.execute(select(studies).where(studies.c.uid == named)).one_or_none()
    if study is None or not _is_one_of(study, new):
        return False
    if not accession or study.accession.strip() in ("", accession):
        return False
    same = (messages.c.study_uid == named, messages.c.kind == MessageKind.FINDINGS)
    dictated = exists().where(*same, messages.c.accession == study.accession)
    return bool(transaction.connection.scalar(select(dictated)))


def _of_same_order(transaction: Transaction, new: NewMessage) -> list[str]:
    """The studies of earlier findings with an order number of this message, newest first.

    One order of the placer's may be of several examinations, each with numbers of its own.
    """
    own = {"filler": text(new.filler), "accession": text(new.identity.accession)}
    alike = [messages.c[name] == number for name, number in own.items() if number]
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
