"""Takes one message: reads it, makes it durable, and only then says AA.

AA is answered when the bytes are synced below `spool/messages` and the row with its run is
committed. What is refused goes to the quarantine with its reason, as at the door for images; the
audit trail hears of it. No part of a file's name is text that a sender chose.
Never: a draft, a model, patient data in a log line or in an answer.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import structlog

from config import Settings
from config.settings import Mllp
from dicom_node.inbox.answer import BROKEN, LATER, Answer
from dicom_node.inbox.events import EventName
from dicom_node.inbox.message import Dictation, Head, Refused, head, read
from storage import (
    AuditEntry,
    MessageKind,
    MessageRecord,
    MessageState,
    NewMessage,
    Spool,
    Storage,
    StorageError,
    Taken,
    TakenAs,
)

FOLDER, QUARANTINE = "messages", "quarantine"
_EVENTS = {TakenAs.REPEAT: EventName.REPEATED, TakenAs.CONFLICT: EventName.CONFLICT}
_STATES = {
    MessageState.HELD: EventName.HELD,
    MessageState.OUTDATED: EventName.OUTDATED,
    MessageState.UNMATCHED: EventName.UNMATCHED,
}

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Desk:
    """What every connection of this process shares. on_event raises a counter by its name."""

    settings: Settings
    mllp: Mllp
    storage: Storage
    on_event: Callable[[str], None]


def take(desk: Desk, data: bytes, address: str) -> Answer:
    """Decide about one whole message; the answer. Never raises."""
    top = head(data)
    try:
        found = read(data, desk.mllp.processing)
        if isinstance(found, Refused):
            refuse(desk, data, top, address, found)
            return Answer(top, found)
        return _store(desk, data, found, address)
    except StorageError as error:
        log.error(EventName.POSTPONED, error=type(error).__name__, address=address)
        desk.on_event(EventName.POSTPONED)
        return Answer(top, LATER)
    except Exception:  # the edge: a bug is answered AE, its bytes are kept
        log.exception(EventName.FAILED, address=address)
        desk.on_event(EventName.FAILED)
        _keep(desk, data, top, address, BROKEN)
        return Answer(top, BROKEN)


def refuse(desk: Desk, data: bytes, top: Head, address: str, refused: Refused) -> None:
    """Log, count and audit a message that is turned away; its bytes go to the quarantine."""
    log.warning(
        EventName.REFUSED, answer=refused.code, error=refused.error, where=refused.where,
        why=refused.why, control=top.control_id[:50], address=address,
    )  # fmt: skip
    desk.on_event(EventName.REFUSED)
    details = {
        "why": f"{refused.where}: {refused.why}",
        "answer": refused.code,
        "control_id": top.control_id[:199],
        "sha256": hashlib.sha256(data).hexdigest(),
        "address": address,
    }
    entry = AuditEntry("110113", "E", 4, "message.refused", who=top[3][:64], details=details)
    try:
        desk.storage.audit.append(entry)
    except StorageError as error:
        log.error(EventName.POSTPONED, error=type(error).__name__, address=address)
    _keep(desk, data, top, address, refused)


def renewed(said: Dictation, record: MessageRecord) -> NewMessage:
    """A stored message, read once more, as `Inbox.reconsider` takes it."""
    new = new_message(said, b"", record.path, record.address, record.received_at)
    return replace(new, sha256=record.sha256, size=record.size)


def new_message(said: Dictation, data: bytes, path: str, address: str, at: datetime) -> NewMessage:
    """The record of a message whose bytes lie at `path`."""
    return NewMessage(
        sender=said.sender,
        control_id=said.head.control_id,
        sha256=hashlib.sha256(data).hexdigest(),
        size=len(data),
        path=path,
        kind=said.kind,
        identity=said.identity,
        patients=said.patients,
        digest=_digest(said),
        placer=said.placer[:200],
        filler=said.filler[:200],
        address=address,
        received_at=at,
        urgent=said.urgent,
        written=said.written,
    )


def _digest(said: Dictation) -> str:
    """Of what a run reads: the same findings sent again give no second draft."""
    one = said.sections
    final = said.kind is MessageKind.FINAL
    parts = (said.kind, one.findings, one.indication, one.impression if final else "")
    text = "\x1f".join((*parts, said.language, said.reader if final else ""))
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def _store(desk: Desk, data: bytes, said: Dictation, address: str) -> Answer:
    spool = desk.storage.spool
    if spool.free_bytes() < desk.settings.intake.disk_reserve or spool.distrusted:
        log.error(EventName.POSTPONED, error=spool.distrusted or "no room", address=address)
        desk.on_event(EventName.POSTPONED)
        return Answer(said.head, LATER)
    sha256 = hashlib.sha256(data).hexdigest()
    # another name each time: what comes again must not get a file that retention removes
    name = f"{sha256[:2]}/{os.urandom(6).hex()}-{sha256}.hl7"
    path = spool.write(FOLDER, name, data)
    new = new_message(said, data, path, address, datetime.now(UTC))
    taken = desk.storage.inbox.add(new)
    if taken.kind is TakenAs.REPEAT:
        _drop_repeat(spool, path, taken.message.path)
    _tell(desk, taken)
    return Answer(said.head)


def _drop_repeat(spool: Spool, path: str, first: str) -> None:
    """The first copy counts; should its file be gone, the repeat takes its place, for a retry."""
    if first and not spool.path(first).is_file():
        spool.move(path, FOLDER, first.removeprefix(f"{FOLDER}/"))
    else:
        spool.remove(path)


def _tell(desk: Desk, taken: Taken) -> None:
    message = taken.message
    event = _EVENTS.get(taken.kind, EventName.RECEIVED)
    events = [event]
    if taken.kind is not TakenAs.REPEAT and message.state in _STATES:
        events.append(_STATES[message.state])
    for each in events:
        desk.on_event(each)
        log.info(
            each, message=message.id, kind=message.kind.value, run=message.run_id,
            study=message.study_uid, why=message.reason, address=message.address,
            alarm=each is EventName.HELD,
        )  # fmt: skip


def _keep(desk: Desk, data: bytes, top: Head, address: str, refused: Refused) -> None:
    """A courtesy, never a promise: without room the refusal stands without it."""
    if not desk.settings.intake.quarantine:
        return
    sha256 = hashlib.sha256(data).hexdigest()
    name = f"{sha256}-{refused.error}"
    told = {
        "why": f"{refused.where}: {refused.why}",
        "answer": refused.code,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "sha256": sha256,
        "control_id": top.control_id[:199],
        "address": address,
    }
    spool = desk.storage.spool
    try:
        spool.write(QUARANTINE, f"{name}.hl7", data)
        if not spool.path(f"{QUARANTINE}/{name}.json").exists():
            spool.write(QUARANTINE, f"{name}.json", json.dumps(told, indent=1).encode() + b"\n")
    except StorageError as error:
        log.error(EventName.POSTPONED, error=type(error).__name__, address=address)
