"""Decides what becomes of one received instance: new, repeat or conflict; held or not.

Whose study it is, is what its first instance said. An instance that names another patient puts
the study on hold, whether its bytes are kept or not: nobody but a person can say which of the
two is right. An empty issuer agrees with any; the first one that is said counts from then on.
Where no number names the patient, name and birth date must agree.
Name, birth date and accession number of the same patient may be corrected at the source: the
newest instance that is kept says them, and what was reported before stays as it was.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import unicodedata
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Row, bindparam, insert, select, update

from storage._fates import Again
from storage._plain import plain, text
from storage._retention import NAMING
from storage.database import Transaction
from storage.errors import StorageBusy
from storage.records import Added, AddedAs, AuditEntry, Identity, NewInstance, StudyState
from storage.tables import instances, series, studies

POLICIES = ("keep_first", "keep_both", "refuse")
OTHER_PATIENT = "an instance names another patient than the study's first one"
MOVED = "an instance of it came again with other bytes, in another study and of another patient"
TWO_CONTENTS = "one SOP Instance UID came with two different contents"

_UNCLEAR = re.compile(r"[\x00-\x1f\x7f-\x9f\ufffd\\]")
_DEFAULT = frozenset({"", "ISO_IR 6", "ISO 2022 IR 6"})

# every instance runs these: built once, their compiled form is found again by identity
_STUDY = select(studies).where(studies.c.uid == bindparam("of")).with_for_update(key_share=True)
_SAME = (
    select(instances).where(instances.c.sop_uid == bindparam("sop")).order_by(instances.c.ordinal)
)
INSERT = insert(instances)
_ONE_MORE = (
    update(studies)
    .where(studies.c.uid == bindparam("of"))
    .values(
        instances=studies.c.instances + 1,
        last_received=bindparam("last"),
        state=bindparam("now"),
    )
)


def lock(transaction: Transaction, uid: str) -> Row[Any] | None:
    """The study's row, locked until the commit (PostgreSQL; SQLite has one writer anyway)."""
    return transaction.connection.execute(_STUDY, {"of": uid}).one_or_none()


def hold(transaction: Transaction, uid: str, reason: str) -> None:
    """Put the study on hold; the caller says in the audit why, beyond the change of state."""
    values = {"state": StudyState.HELD, "reason": text(reason)}
    transaction.connection.execute(update(studies).where(studies.c.uid == uid).values(values))
    details = {"reason": reason}
    transaction.audit(AuditEntry("110100", "E", 4, "study.held", uid, details=details))


def file(transaction: Transaction, new: NewInstance, on_conflict: str) -> Added:
    """Enter one instance; `Added` says what the sender hears and what happens to the bytes."""
    if on_conflict not in POLICIES:
        raise ValueError(f"on_conflict is {on_conflict!r}, not one of {', '.join(POLICIES)}")
    uid = new.identity.study_uid
    study = lock(transaction, uid)
    same = transaction.connection.execute(_SAME, {"sop": new.sop_uid}).all()
    repeat = next((row for row in same if row.sha256 == new.sha256), None)
    if repeat is not None:
        return _repeat(transaction, repeat, new)
    counting = [row for row in same if row.ordinal >= 0]
    if not counting:
        held = _enter(transaction, study, new, ordinal=0)
        return Added(AddedAs.NEW, kept=True, held=held)
    _audit_conflict(transaction, counting[0], new, on_conflict)
    if on_conflict == "keep_both":
        held = _enter(transaction, study, new, ordinal=counting[-1].ordinal + 1)
        held = _hold_both(transaction, {uid, counting[0].study_uid}) or held
        return Added(AddedAs.CONFLICT, kept=True, held=held)
    held = _compare(transaction, study, new)
    if counting[0].study_uid != uid:  # moved to another study, or taken from the wrong one
        held = _compare(transaction, lock(transaction, counting[0].study_uid), new, MOVED) or held
    return Added(AddedAs.CONFLICT, kept=False, refused=on_conflict == "refuse", held=held)


def _repeat(transaction: Transaction, row: Row[Any], new: NewInstance) -> Added:
    values = {"repeats": instances.c.repeats + 1}
    transaction.connection.execute(update(instances).where(instances.c.id == row.id).values(values))
    query = select(studies.c.state, studies.c.reason).where(studies.c.uid == row.study_uid)
    study = transaction.connection.execute(query).one()
    held = study.reason if study.state == StudyState.HELD else ""
    kept = row.path == new.path
    return Added(AddedAs.REPEAT, kept, held=held, path="" if kept else row.path)


def _enter(transaction: Transaction, study: Row[Any] | None, new: NewInstance, ordinal: int) -> str:
    """Insert the instance, open its study; returns why the study is held, or ''."""
    if study is None:
        _open(transaction, new)
        held, state = "", StudyState.OPEN
    else:
        study = _name_again(transaction, study, new.identity)
        held = _compare(transaction, study, new)
        if one_patient(study, new.identity):
            _correct(transaction, study, new)
        stays = held or study.state == StudyState.HELD
        state = StudyState.HELD if stays else StudyState.OPEN
        if study.state == StudyState.SETTLED and not stays:
            transaction.audit(_event(new, "U", "study.reopened"))
    _insert(transaction, new, ordinal)
    counted = {"of": new.identity.study_uid, "last": new.received_at, "now": state}
    transaction.connection.execute(_ONE_MORE, counted)
    return held


def _open(transaction: Transaction, new: NewInstance) -> None:
    who = new.identity
    inserted = transaction.insert_missing(
        studies,
        {
            "uid": who.study_uid,
            "state": StudyState.OPEN,
            "reason": "",
            **_naming(who),
            "first_received": new.received_at,
            "last_received": new.received_at,
            "instances": 0,
            "planned_instances": 0,
            "trace": [],
        },
    )
    if not inserted:  # another process opened it since we looked: see its patient first
        raise Again(StorageBusy("Two processes kept opening one study.", then="Try again."))
    transaction.audit(_event(new, "C", "study.opened"))


def _naming(who: Identity) -> dict[str, str]:
    return {name: text(getattr(who, name)) for name in NAMING}


def _name_again(transaction: Transaction, study: Row[Any], who: Identity) -> Row[Any]:
    """After retention took all that it said of a patient, what comes again says whose it is."""
    if study.forgotten_at is None or any(getattr(study, name) for name in NAMING):
        return study
    values = _naming(who)
    return transaction.connection.execute(
        update(studies).where(studies.c.uid == study.uid).values(values).returning(studies)
    ).one()


def _insert(transaction: Transaction, new: NewInstance, ordinal: int) -> None:
    transaction.insert_missing(series, series_row(new))
    transaction.connection.execute(INSERT, instance_row(new, ordinal))


def series_row(new: NewInstance) -> dict[str, Any]:
    modality = plain(new.headers.get("Modality"))
    return {
        "study_uid": new.identity.study_uid,
        "uid": new.series_uid,
        "modality": modality[:16] if isinstance(modality, str) else "",
        "first_received": new.received_at,
    }


def instance_row(new: NewInstance, ordinal: int) -> dict[str, Any]:
    return {
        "sop_uid": new.sop_uid,
        "ordinal": ordinal,
        "sop_class": new.sop_class,
        "transfer_syntax": new.transfer_syntax,
        "study_uid": new.identity.study_uid,
        "series_uid": new.series_uid,
        "sha256": new.sha256,
        "size": new.size,
        "path": new.path,
        "calling_ae": text(new.calling_ae)[:16],
        "called_ae": text(new.called_ae)[:16],
        "address": text(new.address),
        "headers": dict(new.headers),  # the engine's JSON makes them plain
        "received_at": new.received_at,
        "repeats": 0,
        "note": text(new.note),
    }


def _compare(
    transaction: Transaction, study: Row[Any] | None, new: NewInstance, why: str = OTHER_PATIENT
) -> str:
    """Hold the study if `new` names another patient; returns why it is held, or ''."""
    if study is None:
        return ""
    if one_patient(study, new.identity):
        return str(study.reason) if study.state == StudyState.HELD else ""
    uid = study.uid
    details = {
        "sop_uid": new.sop_uid,
        "patient_of_study": patient_hash(transaction.key, _told_apart(study)),
        "patient_received": patient_hash(transaction.key, _told_apart(new.identity)),
        "calling_ae": new.calling_ae,
        "address": new.address,
    }
    transaction.audit(AuditEntry("110113", "E", 8, "identity.mismatch", uid, details=details))
    if study.state == StudyState.HELD:
        return str(study.reason)
    hold(transaction, uid, why)
    return why


def same_patient(one: tuple[str, str], other: tuple[str, str]) -> bool:
    """Whether two (patient id, issuer) name one patient; an empty issuer agrees with any."""
    return one[0] == other[0] and (one[1] == other[1] or not one[1] or not other[1])


def patient(said: Row[Any] | Identity) -> tuple[str, str]:
    """Who is meant: patient id and issuer; `""`, as worklists hand it on, is none."""
    number, issuer = text(said.patient_id).strip(), text(said.issuer).strip()
    return number.replace('""', ""), issuer.replace('""', "")


def one_patient(study: Row[Any] | Identity, other: Identity) -> bool:
    """Whether both name one patient: by number; where neither has one, by name and birth date."""
    if not same_patient(patient(study), patient(other)):
        return False
    return bool(patient(other)[0]) or all(
        one == two or not one or not two
        for one, two in zip(_person(study), _person(other), strict=True)
    )


def _person(said: Row[Any] | Identity) -> tuple[str, str]:
    """Name (its first group, without case, accents and separators) and birth date."""
    name = unicodedata.normalize("NFKD", text(said.patient_name).partition("=")[0])
    return "".join(filter(str.isalnum, name)).casefold(), text(said.birth_date).strip()


def _told_apart(said: Row[Any] | Identity) -> tuple[str, ...]:
    return patient(said) if patient(said)[0] else (*patient(said), *_person(said))


def _correct(transaction: Transaction, study: Row[Any], new: NewInstance) -> None:
    """Take over corrected demographics; what the newest instance leaves empty stays."""
    values = corrections(new.identity, new.headers)
    changed = {field for field, value in values.items() if getattr(study, field) != value}
    if not changed:
        return
    transaction.connection.execute(update(studies).where(studies.c.uid == study.uid).values(values))
    details = {"fields": sorted(changed), "sop_uid": new.sop_uid, "calling_ae": new.calling_ae}
    transaction.audit(
        AuditEntry("110104", "U", 0, "identity.corrected", study.uid, details=details)
    )


def corrections(identity: Identity, headers: Mapping[str, Any]) -> dict[str, str]:
    """What an instance says of its patient and order, without what may be decoded wrongly.

    Whether the character set of an image fits is for its reports to say (PS3.5 6.1).
    """
    said = {
        "issuer": text(identity.issuer),
        "patient_name": text(identity.patient_name),
        "birth_date": text(identity.birth_date),
        "accession": text(identity.accession),
    }
    sets = headers.get("SpecificCharacterSet") or ""
    declared = not _DEFAULT.issuperset(sets if isinstance(sets, list) else [sets])
    return {
        field: value
        for field, value in said.items()
        if value and not _UNCLEAR.search(value) and (declared or value.isascii())
    }


def _hold_both(transaction: Transaction, uids: set[str]) -> str:
    reason = ""
    for uid in sorted(uids):
        study = lock(transaction, uid)
        if study is None:
            continue
        if study.state != StudyState.HELD:
            hold(transaction, uid, TWO_CONTENTS)
        reason = TWO_CONTENTS
    return reason


def _audit_conflict(transaction: Transaction, first: Row[Any], new: NewInstance, rule: str) -> None:
    details = {
        "sop_uid": new.sop_uid,
        "on_conflict": rule,
        "sha256_kept": first.sha256,
        "sha256_received": new.sha256,
        "calling_ae": new.calling_ae,
        "address": new.address,
    }
    uid = new.identity.study_uid
    transaction.audit(AuditEntry("110104", "U", 4, "instance.conflict", uid, details=details))


def _event(new: NewInstance, action: str, kind: str) -> AuditEntry:
    details = {
        "calling_ae": new.calling_ae,
        "called_ae": new.called_ae,
        "address": new.address,
        "series_uid": new.series_uid,
        "sop_uid": new.sop_uid,
    }
    return AuditEntry("110104", action, 0, kind, new.identity.study_uid, details=details)


def patient_hash(key: bytes, patient: tuple[str, ...]) -> str:
    """One audit message may name one patient only (PS3.15 A.5): both are told apart, not named."""
    said = "\n".join(("patient", *patient)).encode("utf-8", "replace")
    return hmac.new(key, said, hashlib.sha256).hexdigest()[:16]
