"""The inbox gateway: reports that came as messages, and whose they are.

A message, the row of its study and the run that reads it are entered in one transaction: what is
acknowledged is planned. A message that names another patient than its study (`_matching`) is held
and no run of it is planned. Same sender, control id and bytes is one message, however often it
comes; same control id and other bytes are two messages, and the audit log says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, and_, exists, func, insert, select, update

from storage import _finish, _matching, _planning, _rows
from storage._fates import Again
from storage._intake import lock, patient, patient_hash
from storage._plain import text
from storage._retention import NAMING
from storage.database import Database, Transaction
from storage.errors import StorageBusy
from storage.records import (
    AGREEMENT,
    IMPRESSIONS,
    UNFINISHED,
    AuditEntry,
    MessageKind,
    MessageRecord,
    MessageState,
    NewMessage,
    PlannedRun,
    Run,
    RunState,
    StudyState,
    Taken,
    TakenAs,
)
from storage.tables import agreements, messages, runs, studies

NO_DRAFT = "no draft of this study was made here"
_PROCESSORS = {MessageKind.FINDINGS: IMPRESSIONS, MessageKind.FINAL: AGREEMENT}


class Inbox:
    """Received messages."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, new: NewMessage) -> Taken:
        """File one message with all that follows from it."""
        return self._database.write(lambda transaction: _add(transaction, new))

    def reconsider(self, message_id: int, again: NewMessage, who: str) -> MessageRecord | None:
        """A person corrected the study of a held message: look again whose it is.

        again: the same message, read once more. None if it is not held.
        """
        return self._database.write(
            lambda transaction: _reconsider(transaction, message_id, again, who)
        )

    def close(self, message_id: int, who: str, why: str) -> bool:
        """A person decided that nothing becomes of a held message. False if it is not held."""

        def work(transaction: Transaction) -> bool:
            mine = (messages.c.id == message_id, messages.c.state == MessageState.HELD)
            values = {"state": MessageState.CLOSED, "reason": text(f"closed by {who}: {why}")}
            row = transaction.connection.execute(
                update(messages).where(*mine).values(values).returning(messages)
            ).one_or_none()
            if row is not None:
                transaction.audit(_event(_rows.message(row), "U", "message.closed", who))
            return row is not None

        return self._database.write(work)

    def disowned(self, run: Run, again: NewMessage) -> str:
        """Why the text of a claimed run is not of the run's study any more, or "".

        again: its message, read once more. A person may have decided meanwhile that the study is
        of another patient: then the message is held, and the run ends set aside. Raises LeaseLost.
        """
        return self._database.write(lambda transaction: _disowned(transaction, run, again))

    def get(self, message_id: int) -> MessageRecord | None:
        """One message."""
        return next(iter(self._found(messages.c.id == message_id, limit=1)), None)

    def of_run(self, run_id: int) -> MessageRecord | None:
        """The newest message that a run reads."""
        return next(iter(self._found(messages.c.run_id == run_id, limit=1)), None)

    def answered(self, run_id: int) -> bool:
        """Whether a final report came after the findings, a message or an SR, that the run read."""
        with self._database.read() as connection:
            return bool(connection.scalar(select(_matching.final_behind(run_id))))

    def list(
        self, *, state: MessageState | None = None, limit: int = 100
    ) -> tuple[MessageRecord, ...]:
        """Messages, newest first."""
        return self._found(*([messages.c.state == state] if state else []), limit=limit)

    def counts(self) -> Mapping[tuple[MessageKind, MessageState], int]:
        """How many messages of each kind are in each state."""
        key = (messages.c.kind, messages.c.state)
        with self._database.read() as connection:
            rows = connection.execute(select(*key, func.count()).group_by(*key))
            return {(MessageKind(row[0]), MessageState(row[1])): row[2] for row in rows}

    def forget(self, before: datetime, limit: int = 1000) -> tuple[str, ...]:
        """Retention: forget texts and order numbers of what came before; returns its paths.

        What is held, or still to be read, stays. Sender and control id are kept: the same message
        must be known for ever. Figures of agreement are kept, the texts beside them not.
        """
        return self._database.write(lambda transaction: _forget(transaction, before, limit))

    def known_paths(self, paths: Sequence[str]) -> frozenset[str]:
        """Those of `paths` that a row names; the others were never acknowledged."""
        found: set[str] = set()
        with self._database.read() as connection:
            for start in range(0, len(paths), 1000):
                page = list(paths[start : start + 1000])
                query = select(messages.c.path).where(messages.c.path.in_(page))
                found.update(connection.scalars(query))
        return frozenset(found)

    def _found(self, *conditions: Any, limit: int) -> tuple[MessageRecord, ...]:
        query = select(messages).where(*conditions).order_by(messages.c.id.desc()).limit(limit)
        with self._database.read() as connection:
            return tuple(_rows.message(row) for row in connection.execute(query))


def _add(transaction: Transaction, new: NewMessage) -> Taken:
    connection = transaction.connection
    same = connection.execute(
        select(messages).where(
            messages.c.sender == text(new.sender), messages.c.control_id == text(new.control_id)
        )
    ).all()
    repeat = next((row for row in same if row.sha256 == new.sha256), None)
    if repeat is not None:
        more = update(messages).where(messages.c.id == repeat.id)
        row = connection.execute(
            more.values(repeats=messages.c.repeats + 1).returning(messages)
        ).one()
        return Taken(TakenAs.REPEAT, _rows.message(row))
    if same:
        details = {
            "sender": new.sender,
            "control_id": new.control_id,
            "sha256_known": [row.sha256 for row in same],
            "sha256_received": new.sha256,
            "address": new.address,
        }
        transaction.audit(AuditEntry("110107", "U", 4, "message.conflict", "", details=details))
    values = _place(transaction, new)
    row = connection.execute(
        insert(messages)
        .values(
            sender=text(new.sender),
            control_id=text(new.control_id),
            sha256=new.sha256,
            size=new.size,
            path=new.path,
            kind=new.kind,
            placer=text(new.placer),
            filler=text(new.filler),
            accession=text(new.identity.accession),
            address=text(new.address),
            received_at=new.received_at,
            written=new.written.isoformat() if new.written else None,
            repeats=0,
            **values,
        )
        .returning(messages)
    ).one()
    filed = _rows.message(row)
    transaction.audit(_event(filed, "C", f"message.{filed.state.value}"))
    return Taken(TakenAs.CONFLICT if same else TakenAs.NEW, filed)


def _reconsider(
    transaction: Transaction, message_id: int, again: NewMessage, who: str
) -> MessageRecord | None:
    mine = (messages.c.id == message_id, messages.c.state == MessageState.HELD)
    if transaction.connection.execute(select(messages.c.id).where(*mine)).one_or_none() is None:
        return None
    values = _place(transaction, again)
    row = transaction.connection.execute(
        update(messages).where(*mine).values(values).returning(messages)
    ).one()
    found = _rows.message(row)
    transaction.audit(_event(found, "U", "message.reconsidered", who))
    return found


def _place(transaction: Transaction, new: NewMessage) -> dict[str, Any]:
    """State, reason, study and run of a message."""
    uid = _matching.study_of(transaction, new)
    study = lock(transaction, uid)
    if new.kind is MessageKind.FINAL and (
        study is None or not _matching.has_runs(transaction, uid)
    ):
        known = None if study is None else uid
        return _values(MessageState.UNMATCHED, NO_DRAFT, known, None)
    named = study is not None and any(getattr(study, name) for name in NAMING)
    if study is not None and named and (reason := _matching.other_patient(study, new)):
        _alarm(transaction, study, new)
        return _values(MessageState.HELD, reason, uid, None)
    if new.kind is MessageKind.FINDINGS and (reason := _matching.overtaken(transaction, uid, new)):
        return _values(MessageState.OUTDATED, reason, None if study is None else uid, None)
    if study is None:
        study = _open(transaction, uid, new)
    elif not named:
        study = _name_again(transaction, uid, new)
    planned = PlannedRun(_PROCESSORS[new.kind], new.digest, (), urgent=new.urgent)
    run_id = _planning.plan_one(transaction, study, planned, new.received_at)
    return _values(MessageState.TAKEN, "", uid, run_id)


def _alarm(transaction: Transaction, study: Row[Any], new: NewMessage, **more: Any) -> None:
    details = {
        "patient_of_study": patient_hash(transaction.key, patient(study)),
        "patients_received": [patient_hash(transaction.key, one) for one in new.patients],
        "sender": new.sender,
        "control_id": new.control_id,
        "address": new.address,
        **more,
    }
    transaction.audit(AuditEntry("110113", "E", 8, "identity.mismatch", study.uid, details=details))


def _disowned(transaction: Transaction, run: Run, again: NewMessage) -> str:
    study = lock(transaction, run.study_uid)
    reason = _matching.other_patient(study, again) if study is not None else ""
    if study is None or not reason:
        return ""
    _finish.finish(transaction, run, _finish.Result(RunState.SET_ASIDE, reason, None, ()))
    held = update(messages).where(messages.c.run_id == run.id)
    values = _values(MessageState.HELD, reason, study.uid, None)
    rows = transaction.connection.execute(held.values(values).returning(messages)).all()
    for row in rows:
        _alarm(transaction, study, again, message=row.id)
    return reason


def _values(
    state: MessageState, reason: str, study_uid: str | None, run_id: int | None
) -> dict[str, Any]:
    return {"state": state, "reason": reason, "study_uid": study_uid, "run_id": run_id}


def _open(transaction: Transaction, uid: str, new: NewMessage) -> Row[Any]:
    """A study that is known by its report alone; nothing is to be settled."""
    values = {
        "uid": uid,
        "state": StudyState.SETTLED,
        "reason": "",
        **{name: text(getattr(new.identity, name)) for name in NAMING},
        "first_received": new.received_at,
        "last_received": new.received_at,
        "instances": 0,
        "planned_instances": 0,
        "trace": [],
    }
    if not transaction.insert_missing(studies, values):  # another process did: see its patient
        raise Again(StorageBusy("Two processes kept opening one study.", then="Try again."))
    return transaction.connection.execute(select(studies).where(studies.c.uid == uid)).one()


def _name_again(transaction: Transaction, uid: str, new: NewMessage) -> Row[Any]:
    """After retention took all that it said of a patient, what comes again says whose it is."""
    values = {name: text(getattr(new.identity, name)) for name in NAMING}
    return transaction.connection.execute(
        update(studies).where(studies.c.uid == uid).values(values).returning(studies)
    ).one()


def _forget(transaction: Transaction, before: datetime, limit: int) -> tuple[str, ...]:
    connection = transaction.connection
    unread = exists().where(runs.c.id == messages.c.run_id, runs.c.state.in_(UNFINISHED))
    rows = connection.execute(
        select(messages.c.id, messages.c.path)
        .where(messages.c.received_at < before, messages.c.forgotten_at.is_(None))
        .where(messages.c.state != MessageState.HELD, ~unread)
        .order_by(messages.c.received_at)
        .limit(limit)
    ).all()
    values = {"forgotten_at": transaction.now, "path": "", "placer": "", "filler": ""}
    for start in range(0, len(rows), 500):
        ids = [row.id for row in rows[start : start + 500]]
        connection.execute(
            update(messages).where(messages.c.id.in_(ids)).values(**values, accession="")
        )
    old = and_(agreements.c.received_at < before, agreements.c.forgotten_at.is_(None))
    texts = {"forgotten_at": transaction.now, "findings": "", "draft": "", "impression": ""}
    done = connection.execute(update(agreements).where(old).values(texts)).rowcount
    if rows or done:
        details = {"messages": len(rows), "agreements": done}
        transaction.audit(AuditEntry("110105", "D", 0, "retention.messages", details=details))
    return tuple(row.path for row in rows)


def _event(message: MessageRecord, action: str, kind: str, who: str = "") -> AuditEntry:
    """An import (PS3.15 A.5.3.10): what came, from whom, what becomes of it."""
    details = {
        "message": message.id,
        "sender": message.sender,
        "control_id": message.control_id,
        "sha256": message.sha256,
        "kind": message.kind.value,
        "reason": message.reason,
        "run": message.run_id,
        "address": message.address,
    }
    outcome = 8 if message.state is MessageState.HELD else 0
    return AuditEntry("110107", action, outcome, kind, message.study_uid, who, details)
