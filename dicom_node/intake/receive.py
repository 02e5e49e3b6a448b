"""Takes one complete data set: a decision, a file, a row, and only then a status.

0000 is answered when the bytes are synced under their final name, the folder is synced and the row
is committed (`storage.spool.keep`, then `storage.studies.add`). Files are named by the SHA-256 of
the received data set: no path is ever made of a UID. Never: a decoded pixel, a transcoded byte, a
status because of what a model may say. PS3.4 B.2.3.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import BinaryIO

import structlog

from dicom_node.admission import (
    MISMATCH,
    OUT_OF_RESOURCES,
    PROCESSING_FAILURE,
    SUCCESS,
    Asked,
    Refused,
    admit_instance,
    odd_uid,
)
from dicom_node.intake import headers, ledger, quarantine
from dicom_node.intake.events import EventName
from dicom_node.intake.ledger import Sender, Transfer
from dicom_node.intake.quarantine import Case
from dicom_node.intake.reception import House, Reception
from dicom_node.intake.walk import walk
from storage import Incoming, Spool, Storage, StorageError
from storage.records import Added, AddedAs, AuditEntry, Identity, NewInstance

OBJECTS = "objects"
CONFLICT = "the same SOP Instance UID came with other bytes"

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Content:
    """What the received bytes turned out to be. ours: a result of this product."""

    size: int
    identity: Identity
    headers: dict[str, headers.JSON]
    series_uid: str
    ours: bool
    note: str
    refused: Refused | None


def finish(reception: Reception, transfer: Transfer) -> int:
    """Decide about a complete data set and store it; the status to answer. Never raises."""
    try:
        incoming = reception.incoming
        if reception.trouble or incoming is None:
            return _postpone(reception, transfer)
        return _finish(reception, incoming, transfer)
    except StorageError as error:
        reception.trouble = reception.house.readiness.trouble(error)
        return _postpone(reception, transfer)
    except Exception as error:  # noqa: BLE001  the edge: a bug is answered 0110, no more
        return _fail(reception, error)
    finally:
        reception.discard()


def refuse(house: House, sender: Sender, refused: Refused, study_uid: str = "") -> int:
    """Log, count and audit an instance that is turned away; its status."""
    status = f"0x{refused.status:04X}"
    log.warning(
        EventName.INSTANCE_REFUSED, status=status, why=refused.why, study=study_uid,
        **sender.fields(),
    )  # fmt: skip
    house.on_event(EventName.INSTANCE_REFUSED)
    entry = ledger.alert(
        sender, refused.why, kind="instance.refused", study_uid=study_uid, status=status
    )
    house.books.write(entry)
    return refused.status


def examine(file: BinaryIO, size: int, asked: Asked, transfer_syntax: str) -> Content:
    """Look at the data set that begins at the file's position: who it is, and may it come in."""
    walked = walk(file, size, transfer_syntax)
    source = headers.dataset(walked)
    contained = headers.contained(walked, source, size)
    refused = admit_instance(asked, contained)
    if source is None:
        return Content(size, Identity(""), {}, "", False, "", refused)
    series_uid = headers.text(source, "SeriesInstanceUID")
    if not series_uid:
        walked.note("no Series Instance UID")
    if any(odd_uid(uid) for uid in (asked.sop_uid, contained.study_uid, series_uid)):
        walked.note("a UID component begins with a zero")
    return Content(
        size, headers.identity(source), headers.of(source, has_pixels=walked.has_pixels),
        series_uid[:64], headers.made_by_us(source), "; ".join(walked.notes), refused,
    )  # fmt: skip


def new_instance(
    content: Content, asked: Asked, transfer_syntax: str, sender: Sender, sha256: str, path: str
) -> NewInstance:
    """The record of an instance whose bytes lie at `path`."""
    return NewInstance(
        sop_uid=asked.sop_uid, sop_class=asked.sop_class, transfer_syntax=transfer_syntax,
        series_uid=content.series_uid, identity=content.identity, sha256=sha256,
        size=content.size, path=path, calling_ae=sender.calling, called_ae=sender.called,
        address=sender.address, headers=content.headers, received_at=datetime.now(UTC),
        note=content.note,
    )  # fmt: skip


def _finish(reception: Reception, incoming: Incoming, transfer: Transfer) -> int:
    house, asked = reception.house, reception.asked
    with incoming.path.open("rb") as file:
        file.seek(len(reception.meta))
        content = examine(file, reception.size, asked, reception.transfer_syntax)
    if content.refused:
        return _turn_away(reception, incoming, content.refused, content.identity.study_uid)
    if content.ours or house.storage.studies.is_ours(asked.sop_uid):
        transfer.count(content.identity, "ours")
        return _tell(reception, content, EventName.INSTANCE_OURS)
    sha256 = incoming.sha256()
    spool = house.storage.spool
    path = spool.keep(incoming, OBJECTS, spool.object_name(asked.sop_uid, sha256))
    instance = new_instance(
        content, asked, reception.transfer_syntax, reception.sender, sha256, path
    )
    try:
        added = house.storage.studies.add(
            instance, on_conflict=house.settings.intake.on_conflict, audit=_remarks(instance)
        )
    except StorageError:
        _take_back(house.storage, path)
        raise
    house.readiness.stored()
    return _added(reception, transfer, content, added, path)


def _take_back(storage: Storage, path: str) -> None:
    """No row was committed, and the sender will try again: keep no copy for each of its tries."""
    with suppress(StorageError):  # what storage cannot say now is found out at the next start
        if path not in storage.studies.known_paths([path]):
            storage.spool.remove(path)


def _remarks(instance: NewInstance) -> tuple[AuditEntry, ...]:
    if not instance.note:
        return ()
    details = {"note": instance.note, "sop_uid": instance.sop_uid}
    return (
        AuditEntry(
            ledger.TRANSFERRED, "C", 0, kind="instance.note",
            study_uid=instance.identity.study_uid, who=instance.calling_ae, details=details,
        ),
    )  # fmt: skip


def _added(
    reception: Reception, transfer: Transfer, content: Content, added: Added, path: str
) -> int:
    if added.kind is AddedAs.CONFLICT:
        return _conflict(reception, transfer, content, added, path)
    if not added.kept:
        _drop_repeat(reception.house.storage.spool, path, added.path)
    repeated = added.kind is AddedAs.REPEAT
    transfer.count(content.identity, "repeated" if repeated else "stored")
    name = EventName.INSTANCE_REPEATED if repeated else EventName.INSTANCE_RECEIVED
    return _tell(reception, content, name)


def _drop_repeat(spool: Spool, path: str, first: str) -> None:
    """The first copy counts; should its file be gone, the repeat takes its place."""
    if spool.path(first).is_file():
        spool.remove(path)
    else:
        spool.move(path, OBJECTS, first.removeprefix(f"{OBJECTS}/"))


def _conflict(
    reception: Reception, transfer: Transfer, content: Content, added: Added, path: str
) -> int:
    house = reception.house
    refused = Refused(MISMATCH if added.refused else SUCCESS, CONFLICT)
    transfer.count(content.identity, "conflict, kept" if added.kept else "conflict, not kept")
    if not added.kept:
        _put_aside(reception, refused, path)
    _tell(reception, content, EventName.INSTANCE_CONFLICT)
    if added.refused:
        refuse(house, reception.sender, refused, content.identity.study_uid)
    return refused.status


def _put_aside(reception: Reception, refused: Refused, path: str) -> None:
    """An object without a row leaves the objects, into the quarantine or for good."""
    spool = reception.house.storage.spool
    if reception.house.settings.intake.quarantine:
        quarantine.move(spool, path, _case(reception, refused))
    else:
        spool.remove(path)


def _turn_away(reception: Reception, incoming: Incoming, refused: Refused, study_uid: str) -> int:
    house = reception.house
    if house.settings.intake.quarantine and reception.size:
        quarantine.keep(house.storage.spool, incoming, _case(reception, refused))
    return refuse(house, reception.sender, refused, study_uid)


def _case(reception: Reception, refused: Refused) -> Case:
    return Case(reception.asked, reception.transfer_syntax, reception.sender, refused)


def _tell(reception: Reception, content: Content, name: EventName) -> int:
    log.info(
        name, study=content.identity.study_uid, size=content.size, note=content.note,
        **reception.sender.fields(),
    )  # fmt: skip
    reception.house.on_event(name)
    return SUCCESS


def _postpone(reception: Reception, transfer: Transfer) -> int:
    """A700: the sender must send it again."""
    why = reception.trouble
    log.warning(EventName.INSTANCE_POSTPONED, why=why, **reception.sender.fields())
    reception.house.on_event(EventName.INSTANCE_POSTPONED)
    transfer.postponed(why)
    return OUT_OF_RESOURCES


def _fail(reception: Reception, error: Exception) -> int:
    log.exception(EventName.INSTANCE_FAILED, **reception.sender.fields())
    reception.house.on_event(EventName.INSTANCE_FAILED)
    why = f"unexpected {type(error).__name__}"
    entry = ledger.alert(reception.sender, why, kind="instance.failed", status="0x0110")
    reception.house.books.write(entry)
    return PROCESSING_FAILURE
