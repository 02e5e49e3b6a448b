"""Files what the log of arrivals holds: final files, rows, audit, conflicts, all behind the answer.

The only one who writes instances into the database, in the order in which they were answered, many
in one transaction. A database that is away loses nothing: the log keeps what was answered, the
intake says A700 from then on, and filing is tried again. Doing it twice does no harm: a file is
made anew, a row that names the same path is left alone.
In: records. Out: files under `objects`, rows, audit entries, events. Never: a wait for a sender, a
record dropped: what cannot be filed for a reason of its own goes to the quarantine with an alarm.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from dicom_node.admission import MISMATCH, PROCESSING_FAILURE, SUCCESS, Refused
from dicom_node.intake import arrival, ledger, quarantine
from dicom_node.intake.arrival import Arrival, Content
from dicom_node.intake.events import EventName
from dicom_node.intake.ledger import Bookkeeper, Sender, Transfer
from dicom_node.intake.post import Ended
from dicom_node.intake.quarantine import Case
from storage import Arrivals, Record, Spool, StorageError, lane_of
from storage.records import Added, AddedAs, AuditEntry

if TYPE_CHECKING:  # SQL: a receiving process has none
    from storage import Storage

OBJECTS = "objects"
CONFLICT = "the same SOP Instance UID came with other bytes"
UNFILED = "it could not be filed"

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Filed:
    """What became of one record; status: what a sender that waits for it hears."""

    record: Record
    status: int


@dataclass(slots=True)
class Filer:
    """Not for two threads at once. on_event raises a counter by its name.

    on_release: a sender released the association that brought this study, all of it filed.
    """

    storage: Storage
    arrivals: Arrivals
    books: Bookkeeper
    on_conflict: str
    quarantine: bool
    on_event: Callable[[str], None]
    on_release: Callable[[str], None] = lambda _: None
    _transfers: dict[str, Transfer] = field(default_factory=dict)
    _lanes: dict[str, int] = field(default_factory=dict)  # association -> its process' lane

    def file(self, records: Sequence[Record]) -> list[Filed]:
        """File records in this order and mark them.

        Raises StorageError: then none of them is filed, and the same call may be made again.
        """
        known = [(record, one) for record in records if (one := readable(record)) is not None]
        try:
            statuses = self._all(known)
        except StorageError as error:
            if type(error) is not StorageError or len(known) != 1:
                raise
            statuses = [self._set_aside(*known[0], error)]
        except Exception as error:
            if len(known) != 1:
                raise
            log.exception(EventName.INSTANCE_FAILED)
            statuses = [self._set_aside(*known[0], error)]
        self.arrivals.filed(record for record, _ in known)
        return [Filed(record, status) for (record, _), status in zip(known, statuses, strict=True)]

    def ended(self, one: Ended) -> None:
        """An association is over: close its account."""
        association = one.sender.association
        transfer = self._transfers.pop(association, None) or Transfer(one.sender, self.books)
        for why, count in one.postponed.items():
            transfer.postponed(why, count)
        self._lanes.pop(association, None)
        if one.released and not one.postponed and transfer.study:
            self.on_release(transfer.study)
        transfer.close()

    def lost(self, lane: int) -> None:
        """The process of this lane ended, and its associations with it."""
        for association in [name for name, other in self._lanes.items() if other == lane]:
            self._close(association)

    def close(self) -> None:
        """Close all accounts."""
        for association in list(self._transfers):
            self._close(association)

    def _close(self, association: str) -> None:
        self._lanes.pop(association, None)
        if transfer := self._transfers.pop(association, None):
            transfer.close()

    def _all(self, known: Sequence[tuple[Record, Arrival]]) -> list[int]:
        said = [arrival.content(one) for _, one in known]
        ours = self.storage.studies.ours_among([one.asked.sop_uid for _, one in known])
        wanted = [
            n for n, (_, one) in enumerate(known)
            if not said[n].ours and one.asked.sop_uid not in ours
        ]  # fmt: skip
        for n in wanted:
            self._make(known[n][0], known[n][1].path)
        rows = [arrival.new_instance(known[n][1], said[n]) for n in wanted]
        remarks = tuple(entry for n in wanted for entry in _remarks(known[n][1], said[n]))
        added: dict[int, Added] = {}
        if rows:
            done = self.storage.studies.add_many(rows, on_conflict=self.on_conflict, audit=remarks)
            added = dict(zip(wanted, done, strict=True))
        self._lanes.update((one.sender.association, lane_of(record.place)) for record, one in known)
        return [self._told(one, said[n], added.get(n)) for n, (_, one) in enumerate(known)]

    def _make(self, record: Record, path: str) -> None:
        if record.extents:  # otherwise it came as a file of its own
            self.storage.spool.make(path, lambda file: self.arrivals.copy(record, file))

    def _told(self, one: Arrival, said: Content, added: Added | None) -> int:
        """Count and log what became of it, and do what that asks for; its status."""
        transfer = self._transfers.get(one.sender.association)
        if transfer is None:
            transfer = self._transfers[one.sender.association] = Transfer(one.sender, self.books)
        if added is None:
            transfer.count(said.identity, "ours")
            self._drop(one.path)
            return self._tell(one, said, EventName.INSTANCE_OURS)
        if added.kind is AddedAs.CONFLICT:
            return self._conflict(one, said, added, transfer)
        repeated = added.kind is AddedAs.REPEAT
        if not added.kept:
            _drop_repeat(self.storage.spool, one.path, added.path)
        transfer.count(said.identity, "repeated" if repeated else "stored")
        return self._tell(
            one, said, EventName.INSTANCE_REPEATED if repeated else EventName.INSTANCE_RECEIVED
        )

    def _conflict(self, one: Arrival, said: Content, added: Added, transfer: Transfer) -> int:
        refused = Refused(MISMATCH if added.refused else SUCCESS, CONFLICT)
        transfer.count(said.identity, "conflict, kept" if added.kept else "conflict, not kept")
        if not added.kept:
            self._put_aside(one, refused)
        self._tell(one, said, EventName.INSTANCE_CONFLICT)
        if added.refused:
            self.books.write(turned_away(one.sender, refused, said.identity.study_uid))
            self.on_event(EventName.INSTANCE_REFUSED)
        return refused.status

    def _put_aside(self, one: Arrival, refused: Refused) -> None:
        """An object without a row leaves the objects, into the quarantine or for good."""
        if self.quarantine:
            case = Case(one.asked, one.transfer_syntax, one.sender, refused)
            quarantine.move(self.storage.spool, one.path, case)
        else:
            self._drop(one.path)

    def _set_aside(self, record: Record, one: Arrival, error: Exception) -> int:
        """It was answered and cannot be filed, now or ever: a person must look."""
        self._make(record, one.path)
        case = Case(
            one.asked, one.transfer_syntax, one.sender, Refused(PROCESSING_FAILURE, UNFILED)
        )
        quarantine.move(self.storage.spool, one.path, case)
        why = f"{UNFILED}: {type(error).__name__}"
        log.error(EventName.INSTANCE_FAILED, why=why, **one.sender.fields())
        self.on_event(EventName.INSTANCE_FAILED)
        self.books.write(ledger.alert(one.sender, why, kind="instance.failed"))
        return PROCESSING_FAILURE

    def _drop(self, path: str) -> None:
        with suppress(StorageError):  # found again at the next start
            self.storage.spool.remove(path)

    def _tell(self, one: Arrival, said: Content, name: EventName) -> int:
        log.info(
            name, study=said.identity.study_uid, size=one.size, note=one.note,
            **one.sender.fields(),
        )  # fmt: skip
        self.on_event(name)
        return SUCCESS


def turned_away(sender: Sender, refused: Refused, study_uid: str) -> AuditEntry:
    """The audit's word of an instance that is not stored; it is logged too."""
    status = f"0x{refused.status:04X}"
    log.warning(
        EventName.INSTANCE_REFUSED, status=status, why=refused.why, study=study_uid,
        **sender.fields(),
    )  # fmt: skip
    return ledger.alert(
        sender, refused.why, kind="instance.refused", study_uid=study_uid, status=status
    )


def readable(record: Record) -> Arrival | None:
    try:
        return Arrival.unpack(record.meta)
    except (ValueError, TypeError, KeyError):  # its bytes stay in the segment
        log.error(EventName.INSTANCE_FAILED, why="a record of the log that nobody can read")
        return None


def _remarks(one: Arrival, said: Content) -> tuple[AuditEntry, ...]:
    if not one.note:
        return ()
    details = {"note": one.note, "sop_uid": one.asked.sop_uid}
    return (
        AuditEntry(
            ledger.TRANSFERRED, "C", 0, kind="instance.note",
            study_uid=said.identity.study_uid, who=one.sender.calling, details=details,
        ),
    )  # fmt: skip


def _drop_repeat(spool: Spool, path: str, first: str) -> None:
    """The first copy counts; should its file be gone, the repeat takes its place."""
    if spool.path(first).is_file():
        spool.remove(path)
    else:
        spool.move(path, OBJECTS, first.removeprefix(f"{OBJECTS}/"))
