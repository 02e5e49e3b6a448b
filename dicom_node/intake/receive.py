"""Takes one complete data set: a decision, a durable record, and only then a status.

0000 is answered when bytes and all that the row is made of are on disk, in a record of the log of
arrivals (and, where they are many, in a file of their own); the row follows behind the answer
(`filing`). Only under `on_conflict: refuse` the answer depends on the row, and waits for it. Files
are named by the SHA-256 of the received data set: no path is ever made of a UID.
Never: a decoded pixel, a transcoded byte, a status because of what a model may say. PS3.4 B.2.3.
"""

from __future__ import annotations

from collections import Counter

import structlog

from dicom_node.admission import OUT_OF_RESOURCES, PROCESSING_FAILURE, SUCCESS, Refused
from dicom_node.intake import arrival, ledger, quarantine
from dicom_node.intake.events import EventName
from dicom_node.intake.filing import OBJECTS, turned_away
from dicom_node.intake.ledger import Sender
from dicom_node.intake.post import Arrived
from dicom_node.intake.quarantine import Case
from dicom_node.intake.readiness import DATABASE
from dicom_node.intake.reception import House, Reception
from storage import StorageError

CLERK_GONE = "nobody files what comes in"
FILING = 30.0  # seconds in which a row must be there, where the answer depends on it

log = structlog.get_logger()


def finish(reception: Reception, postponed: Counter[str]) -> int:
    """Decide about a complete data set and store it; the status to answer. Never raises."""
    try:
        if reception.trouble:
            return _postpone(reception, postponed)
        return _finish(reception, postponed)
    except StorageError as error:
        reception.trouble = reception.house.room.trouble(error)
        return _postpone(reception, postponed)
    except OSError:  # the post: the one who files is gone, and this process ends with it
        reception.trouble = CLERK_GONE
        return _postpone(reception, postponed)
    except Exception as error:  # noqa: BLE001  the edge: a bug is answered 0110, no more
        return _fail(reception, error)
    finally:
        reception.discard()


def refuse(house: House, sender: Sender, refused: Refused, study_uid: str = "") -> int:
    """Log, count and audit an instance that is turned away; its status."""
    house.books.write(turned_away(sender, refused, study_uid))
    house.on_event(EventName.INSTANCE_REFUSED)
    return refused.status


def _finish(reception: Reception, postponed: Counter[str]) -> int:
    house, asked, syntax = reception.house, reception.asked, reception.transfer_syntax
    with reception.reader() as file:
        found = arrival.look(file, reception.size, asked, syntax)
    if found.refused:
        return _turn_away(reception, found.refused, found.study_uid)
    sha256 = reception.sha256()
    path = f"{OBJECTS}/{house.spool.object_name(asked.sop_uid, sha256)}"
    one = arrival.arrival(found, asked, syntax, reception.sender, sha256, reception.size, path)
    place = reception.keep(path, one.pack())
    if house.settings.intake.on_conflict != "refuse":
        house.post.tell(Arrived(place))
        return SUCCESS
    status = house.post.ask(place, FILING)
    if status is None:  # it is durable and will be filed; what comes again is a repeat
        reception.trouble = DATABASE
        return _postpone(reception, postponed)
    return status


def _turn_away(reception: Reception, refused: Refused, study_uid: str) -> int:
    house = reception.house
    if house.settings.intake.quarantine and reception.size:
        case = Case(reception.asked, reception.transfer_syntax, reception.sender, refused)
        _keep_aside(reception, case)
    return refuse(house, reception.sender, refused, study_uid)


def _keep_aside(reception: Reception, case: Case) -> None:
    try:
        incoming = reception.file()
    except StorageError as error:
        log.error(EventName.QUARANTINE_FAILED, error=type(error).__name__)
        return
    with incoming:
        quarantine.keep(reception.house.spool, incoming, case)


def _postpone(reception: Reception, postponed: Counter[str]) -> int:
    """A700: the sender must send it again."""
    why = reception.trouble
    log.warning(EventName.INSTANCE_POSTPONED, why=why, **reception.sender.fields())
    reception.house.on_event(EventName.INSTANCE_POSTPONED)
    postponed[why] += 1
    return OUT_OF_RESOURCES


def _fail(reception: Reception, error: Exception) -> int:
    log.exception(EventName.INSTANCE_FAILED, **reception.sender.fields())
    reception.house.on_event(EventName.INSTANCE_FAILED)
    why = f"unexpected {type(error).__name__}"
    entry = ledger.alert(reception.sender, why, kind="instance.failed", status="0x0110")
    reception.house.books.write(entry)
    return PROCESSING_FAILURE
