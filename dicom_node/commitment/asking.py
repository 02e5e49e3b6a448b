"""Asks one destination to commit to what it stored, and keeps asking.

A thread for each such destination. What is asked for and not reported within `wait` is asked for
again under a new transaction UID, `MOST_ASKED` times; a peer that is away costs none of them. What
the peer fails to commit to is sent again, `MOST_REFUSED` times in all (`Commitments.told`). After
that a line stands in log, audit and metrics, and a person must look.
"""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import structlog

from dicom_node.commitment import line
from dicom_node.commitment.events import EventName
from dicom_node.commitment.line import Party
from dicom_node.commitment.words import Report, Request
from dicom_node.verdict import backoff
from storage import Storage, StorageError

BATCH = 100  # instances in one request
MOST_ASKED, MOST_REFUSED = 5, 3

log = structlog.get_logger()


@dataclass(slots=True)
class Asker:
    """name: of the destination. wait: seconds for a report before it is asked for again."""

    name: str
    party: Party
    wait: float
    storage: Storage
    on_event: Callable[[str], None]
    _failures: int = 0
    _not_before: float = 0.0
    _rng: random.Random = field(default_factory=random.Random)

    def step(self) -> bool:
        """Ask once, if anything is due; whether there may be more."""
        if time.monotonic() < self._not_before:
            return False
        now = datetime.now(UTC)
        due = self.storage.commitments.due(self.name, now, BATCH)
        late = [one.delivery_id for one in due if one.asked >= MOST_ASKED]
        if late and self.storage.commitments.missing(late):
            self._say(EventName.MISSING, alarm=True, deliveries=late)
        wanted = [one for one in due if one.asked < MOST_ASKED]
        if not wanted:
            return False
        transaction = f"2.25.{uuid.uuid4().int}"
        ids = [one.delivery_id for one in wanted]
        # first remembered, then asked: the report may be faster than the answer
        self.storage.commitments.asking(ids, transaction, now + timedelta(seconds=self.wait))
        request = Request(transaction, tuple((one.sop_class, one.sop_uid) for one in wanted))
        trouble = line.ask(self.party, request, self._told)
        if trouble is None:
            self._failures = 0
            self._say(EventName.ASKED, instances=len(wanted), transaction=transaction)
            return True
        self._failures += 1
        pause = backoff(self._failures, trouble.refused, self._rng)
        self._not_before = time.monotonic() + pause
        self.storage.commitments.not_asked(
            transaction, now + timedelta(seconds=pause), trouble.why, counts=trouble.reached
        )
        self._say(EventName.NOT_ASKED, why=trouble.why, next_in=round(pause, 1))
        return False

    def _told(self, report: Report) -> bool:
        return take(self.storage, report, self.on_event)

    def _say(self, event: EventName, *, alarm: bool = False, **details: object) -> None:
        say = log.error if alarm else log.info
        say(event, destination=self.name, alarm=alarm, **details)
        self.on_event(event)


def take(storage: Storage, report: Report, on_event: Callable[[str], None]) -> bool:
    """Enter a report; False if it is about nothing that we asked for."""
    found = storage.commitments.told(
        report.transaction_uid,
        [uid for _, uid in report.kept],
        {uid: reason for (_, uid), reason in report.failed.items()},
        MOST_REFUSED,
    )
    if found is None:
        log.warning(EventName.UNKNOWN, transaction=report.transaction_uid)
        on_event(EventName.UNKNOWN)
        return False
    said = {
        EventName.COMMITTED: found.committed,
        EventName.SENT_AGAIN: found.again,
        EventName.REFUSED: found.refused,
    }
    for event, count in said.items():
        if count:
            alarm = event is EventName.REFUSED
            say = log.error if alarm else log.info
            say(event, destination=found.destination, deliveries=count, alarm=alarm)
            on_event(event)
    return True


def keep_on(step: Callable[[], bool], stopping: threading.Event, pause: float) -> None:
    """Call `step` until `stopping`; its troubles are logged and it is called again."""
    while not stopping.is_set():
        busy = False
        try:
            busy = step()
        except StorageError as error:
            log.error(EventName.FAILED, error=type(error).__name__)
        except Exception:  # the edge of this thread: it must live as long as the process
            log.exception(EventName.FAILED)
        if not busy:
            stopping.wait(pause)
