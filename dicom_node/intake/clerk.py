"""The clerk: reads the post of all who receive, files what came, and keeps readiness true.

One a node. Lets a moment pass before it files, longer while much comes, so that one transaction
holds many instances; the end of an association hurries it, and senders that wait for it do
(`on_conflict: refuse`). What cannot be filed now is
tried again each second, and meanwhile the intake takes nothing more. Between batches everything
filed is put on disk, so that segments of the log can be written again.
"""

from __future__ import annotations

import socket
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from dicom_node.admission import OUT_OF_RESOURCES
from dicom_node.intake import post
from dicom_node.intake.events import EventName
from dicom_node.intake.filing import Filed, Filer
from dicom_node.intake.ledger import Bookkeeper
from dicom_node.intake.post import Arrived, Ended, Message, Trouble
from dicom_node.intake.readiness import Readiness
from storage import Arrivals, Place, Record, StorageError

BATCH = 256  # records in one transaction
LINGER, LONGEST = 0.02, 0.2  # seconds in which a batch may grow: at first, and in a stream
TURN = 0.25
RETRY = 1.0
SAFE = 5.0  # seconds after which what was filed is put on disk, at the latest

log = structlog.get_logger()


@dataclass(slots=True)
class Clerk:
    """reads: the post. answer: tells a process (by the lane of its segments) a status.

    most_unsafe: bytes of filed records at which they are put on disk. take_up: files what an
    earlier process left; nothing new is filed before.
    """

    reads: socket.socket
    arrivals: Arrivals
    filer: Filer
    books: Bookkeeper
    readiness: Readiness
    answer: Callable[[Place, int, int], None]
    most_unsafe: int
    take_up: Callable[[], object]
    _taken_up: bool = False
    _arrived: deque[Arrived] = field(default_factory=deque)
    _unfiled: list[Record] = field(default_factory=list)
    _places: set[Place] = field(default_factory=set)  # of the unfiled
    _tickets: dict[Place, int] = field(default_factory=dict)
    _ended: list[Ended] = field(default_factory=list)
    _not_before: float = 0.0
    _stalled: bool = False  # something could not be read or filed
    _unsafe: bool = False  # the last try to put what was filed on disk failed
    _last_safe: float = 0.0
    _linger: float = LINGER

    def turn(self) -> bool:
        """Read for a moment and file; False once nobody is left who could write."""
        more = self._gather()
        ready = time.monotonic() >= self._not_before and self.begin() and self._fetch()
        if ready and self._unfiled:
            self._file()
        elif ready and self._stalled:  # and nothing is left whose filing would tell that it is over
            self._over()
        if not self._unfiled and not self._arrived:
            for one in self._ended:
                self.filer.ended(one)
            self._ended.clear()
        self._make_safe()
        return more

    def begin(self) -> bool:
        """Whether what an earlier process left is filed by now."""
        if not self._taken_up:
            try:
                self.take_up()
                self._taken_up = True
            except StorageError as error:
                log.error(EventName.RECOVERED, error=type(error).__name__)
                self._wait(error)
        return self._taken_up

    def finish(self) -> None:
        """File what is still in the post, once, and close the accounts."""
        self.reads.settimeout(0.0)
        self._not_before = 0.0
        while self._gather() and self.begin() and self._fetch() and self._unfiled:
            before = len(self._unfiled)
            self._file()
            if len(self._unfiled) >= before:
                break
        for one in self._ended:
            self.filer.ended(one)
        self.filer.close()
        self._make_safe(now=True)

    def lost(self, lane: int) -> None:
        """The process of this lane ended: take what it made durable and did not tell."""
        try:
            self._take_all(self.arrivals.left(lane))
        except StorageError as error:  # found again at the next start
            self._wait(error)
        self.filer.lost(lane)

    def _take_all(self, records: list[Record]) -> None:
        for record in records:
            if record.place not in self._places:
                self._unfiled.append(record)
                self._places.add(record.place)

    def _gather(self) -> bool:
        until = 0.0
        if self.reads.gettimeout() != 0.0:
            self.reads.settimeout(RETRY / 10 if self._unfiled or self._arrived else TURN)
        while (
            len(self._unfiled) + len(self._arrived) < BATCH or time.monotonic() < self._not_before
        ):
            try:
                message = post.receive(self.reads)
            except (TimeoutError, BlockingIOError):
                return True
            if message is None:
                return False
            hurried = self._take(message)
            until = until or time.monotonic() + self._linger
            left = until - time.monotonic()
            if left <= 0 or hurried:
                return True
            if self.reads.gettimeout() != 0.0:
                self.reads.settimeout(left)
        return True

    def _take(self, message: Message) -> bool:
        """Sort one message; whether it is time to file."""
        if isinstance(message, Arrived):
            self._arrived.append(message)
            return bool(message.ticket)
        if isinstance(message, Ended):
            self._ended.append(message)
            return True
        if isinstance(message, Trouble):
            self.readiness.heard(message)
        else:
            self.books.write(message)
        return False

    def _fetch(self) -> bool:
        """Read the records that were told; whether the log could be read."""
        while self._arrived:
            told = self._arrived[0]
            try:
                record = self.arrivals.read(told.place)
                filed = record is not None and self.arrivals.is_filed(record)
            except StorageError as error:
                self._wait(error)
                return False
            self._arrived.popleft()
            if record is None:
                log.error(EventName.INSTANCE_FAILED, why="a record that is not in the log")
            elif not filed:  # else it was found when its process ended
                self._take_all([record])
                if told.ticket:
                    self._tickets[told.place] = told.ticket
            elif told.ticket:  # filed already, for a sender that nobody knew: let it ask again
                self.answer(told.place, told.ticket, OUT_OF_RESOURCES)
        return True

    def _file(self) -> None:
        batch = self._unfiled[:BATCH]
        try:
            filed = self.filer.file(batch)
        except StorageError as error:
            if type(error) is StorageError and len(batch) > 1:  # neither the disk nor a lock
                self._one_by_one(batch)
            else:
                self._wait(error)
            return
        except Exception:  # one of them is a bug's: find out which
            log.exception(EventName.INSTANCE_FAILED, records=len(batch))
            self._one_by_one(batch)
            return
        self._linger = min(LONGEST, 2 * self._linger) if len(batch) > 1 else LINGER
        del self._unfiled[: len(batch)]
        self._places.difference_update(record.place for record in batch)
        self._filed(filed)

    def _over(self) -> None:
        self._stalled = False
        self.readiness.filed()

    def _filed(self, filed: list[Filed]) -> None:
        self._over()
        for one in filed:
            if ticket := self._tickets.pop(one.record.place, 0):
                self.answer(one.record.place, ticket, one.status)

    def _one_by_one(self, batch: list[Record]) -> None:
        for record in batch:
            try:
                filed = self.filer.file([record])
            except StorageError as error:
                self._wait(error)
                return
            self._unfiled.remove(record)
            self._places.discard(record.place)
            self._filed(filed)

    def _wait(self, error: StorageError) -> None:
        self._stalled = True
        self.readiness.stalled(error)
        self._not_before = time.monotonic() + RETRY

    def _make_safe(self, *, now: bool = False) -> None:
        late = time.monotonic() - self._last_safe > SAFE
        if not (now or late or self.arrivals.unsafe_bytes > self.most_unsafe):
            return
        try:
            self.arrivals.safe()
            if self._unsafe and not self._unfiled and not self._arrived:
                self.readiness.filed()
            self._unsafe = False
        except StorageError as error:
            self._unsafe = True
            self.readiness.stalled(error)
        self._last_safe = time.monotonic()
