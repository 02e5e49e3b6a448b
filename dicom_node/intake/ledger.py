"""What the audit trail is told about the door, without making a sender wait for it.

One 110104 (DICOM Instances Transferred) for each study and association, written when the study
changes or the association ends, never two patients in one message; one 110113 (Security Alert) for
whoever or whatever was turned away. PS3.15 A.5. The entries of an instance that was stored go into
its own transaction and not through here.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from dicom_node.intake.events import EventName
from storage import StorageError
from storage.records import AuditEntry, Identity

TRANSFERRED, ALERT = "110104", "110113"
NODE_AUTHENTICATION, NETWORK = "110126", "110128"
WAITING = 10_000  # entries that may wait for a database that is away
BATCH = 100
RETRY = 1.0  # seconds

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Sender:
    """Who is at the other end; titles are as received, with control characters made visible."""

    calling: str
    called: str
    address: str
    association: str

    def fields(self) -> dict[str, str]:
        return {"calling": self.calling, "address": self.address, "association": self.association}


class Trail(Protocol):
    def append(self, *entries: AuditEntry) -> None: ...


class Bookkeeper:
    """Writes entries in the order in which they came, and waits for the database if it must."""

    def __init__(self, trail: Trail) -> None:
        self._trail = trail
        self._queue: queue.Queue[AuditEntry | None] = queue.Queue(WAITING)
        self._lost = 0
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="intake-books", daemon=True)
        self._thread.start()

    def write(self, *entries: AuditEntry) -> None:
        for entry in entries:
            try:
                self._queue.put_nowait(entry)
            except queue.Full:
                self._lost += 1
                log.error(EventName.AUDIT_LOST, code=entry.event, lost=self._lost)

    def close(self, timeout: float) -> None:
        self._ending.set()
        self._queue.put(None)
        self._thread.join(timeout)
        if self._thread.is_alive():
            log.error(EventName.AUDIT_LOST, lost=self._lost + self._queue.qsize())

    def _run(self) -> None:
        ended = False
        while not ended:
            batch = [self._queue.get()]
            while len(batch) < BATCH and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            ended = None in batch
            self._append([entry for entry in batch if entry is not None])

    def _append(self, batch: list[AuditEntry]) -> None:
        while batch:
            try:
                self._trail.append(*batch)
            except StorageError as error:
                log.warning(EventName.AUDIT_LATE, error=type(error).__name__, entries=len(batch))
                time.sleep(RETRY)
            except Exception:  # a bug must not end the thread that all entries go through
                log.exception(EventName.AUDIT_LOST, lost=len(batch))
                return
            else:
                return


@dataclass(slots=True)
class Transfer:
    """One association's batch: what came of the study that is being sent."""

    sender: Sender
    books: Bookkeeper
    _study: tuple[str, str, str] | None = None
    _counts: Counter[str] = field(default_factory=Counter)
    _postponed: Counter[str] = field(default_factory=Counter)

    @property
    def study(self) -> str:
        """The UID of the study that is being sent, or ""."""
        return self._study[0] if self._study else ""

    def count(self, identity: Identity, what: str) -> None:
        study = (identity.study_uid, identity.patient_id, identity.issuer)
        if study != self._study:
            self.flush()
            self._study = study
        self._counts[what] += 1

    def postponed(self, why: str, count: int) -> None:
        """Instances that the sender must send again; their study is not known."""
        self._postponed[why] += count

    def flush(self) -> None:
        if self._study and self._counts:
            self._write(0, "", self._study[0], self._counts)
        self._study = None
        self._counts.clear()

    def close(self) -> None:
        self.flush()
        if self._postponed:
            self._write(4, "instances.postponed", "", self._postponed)
            self._postponed.clear()

    def _write(self, outcome: int, kind: str, study_uid: str, counts: Counter[str]) -> None:
        details = {**self._ends(), "instances": dict(counts)}
        who = self.sender.calling
        self.books.write(AuditEntry(TRANSFERRED, "C", outcome, kind, study_uid, who, details))

    def _ends(self) -> dict[str, object]:
        return {
            "source": {"ae_title": self.sender.calling, "address": self.sender.address},
            "destination": {"ae_title": self.sender.called},
            "association": self.sender.association,
        }


def alert(
    sender: Sender, why: str, *, kind: str = "", study_uid: str = "", **details: object
) -> AuditEntry:
    """A 110113: somebody or something was turned away."""
    return AuditEntry(
        ALERT, "E", 8 if kind == NODE_AUTHENTICATION else 4, kind=kind, study_uid=study_uid,
        who=sender.calling,
        details={"why": why, "called": sender.called, **sender.fields(), **details},
    )  # fmt: skip
