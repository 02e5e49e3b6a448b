"""What those who receive tell the one who files, over a local socket that keeps their order.

One message a datagram; the socket is reliable and full when the one who files is behind, so a
sender waits. A record is told before its instance is answered: what is answered first is filed
first, in whichever process it came. Losing a message costs nothing: the record is found in the log.
In: places of records, audit entries, ends of associations, trouble. Out: the same, in one order,
and for those who wait the status of a filed record. Never: bytes of an instance.
"""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from dicom_node.intake.ledger import Sender
from storage import Place
from storage.records import AuditEntry

_ARRIVED = struct.Struct("<QQ")
_ANSWER = struct.Struct("<QH")
_LONGEST = 1 << 17


@dataclass(frozen=True, slots=True)
class Arrived:
    """A record is durable. ticket: not 0 if somebody waits for the status of its filing."""

    place: Place
    ticket: int = 0


@dataclass(frozen=True, slots=True)
class Ended:
    """An association is over. postponed: why -> how many instances must be sent again.

    released: by the sender, in order, and not aborted or lost.
    """

    sender: Sender
    postponed: Mapping[str, int]
    released: bool = False


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something is wrong with the disk, in the words of `readiness`."""

    reason: str


Message = Arrived | Ended | Trouble | AuditEntry
_KINDS: dict[str, type[Ended] | type[Trouble] | type[AuditEntry]] = {
    "E": Ended, "T": Trouble, "A": AuditEntry,
}  # fmt: skip


def pair() -> tuple[socket.socket, socket.socket]:
    """Where the one who files reads, and where all others write."""
    reads, writes = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return reads, writes


def packed(message: Message) -> bytes:
    if isinstance(message, Arrived):
        words = _ARRIVED.pack(message.place.offset, message.ticket)
        return b"R" + words + message.place.segment.encode()
    kind = next(letter for letter, one in _KINDS.items() if isinstance(message, one))
    said = json.dumps(asdict(message), default=str).encode()
    return kind.encode() + said


def unpacked(raw: bytes) -> Message:
    if raw[:1] == b"R":
        offset, ticket = _ARRIVED.unpack_from(raw, 1)
        return Arrived(Place(raw[1 + _ARRIVED.size :].decode(), offset), ticket)
    said = json.loads(raw[1:])
    if "sender" in said:
        said["sender"] = Sender(**said["sender"])
    return _KINDS[raw[:1].decode()](**said)


def receive(reads: socket.socket) -> Message | None:
    """The next message; None when nobody is left who could write. Raises TimeoutError."""
    raw = reads.recv(_LONGEST)
    return unpacked(raw) if raw else None


@dataclass(slots=True)
class Post:
    """One receiving process' side. Any thread may use it. answers: where statuses come back."""

    out: socket.socket
    answers: socket.socket | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _next: int = 0
    _waiting: dict[int, tuple[threading.Event, list[int]]] = field(default_factory=dict)

    def tell(self, message: Message) -> None:
        self.out.send(packed(message))

    def append(self, *entries: AuditEntry) -> None:
        """A `ledger.Trail`: the one who files writes them."""
        for entry in entries:
            self.tell(entry)

    def ask(self, place: Place, timeout: float) -> int | None:
        """Tell a record and wait for the status of its filing; None if that takes too long."""
        event, status = threading.Event(), list[int]()
        with self._lock:
            self._next += 1
            ticket = self._next
            self._waiting[ticket] = event, status
        try:
            self.tell(Arrived(place, ticket))
            event.wait(timeout)
            return status[0] if status else None
        finally:
            with self._lock:
                self._waiting.pop(ticket, None)

    def listen(self) -> None:
        """Hand statuses to those who wait, until the other side is gone; in a thread of its own."""
        while self.answers is not None and (raw := self.answers.recv(_ANSWER.size)):
            ticket, status = _ANSWER.unpack(raw)
            with self._lock:
                waiting = self._waiting.get(ticket)
            if waiting is not None:
                waiting[1].append(status)
                waiting[0].set()


def answer(to: socket.socket, ticket: int, status: int) -> None:
    """Tell a waiting process the status; one that is gone needs none."""
    try:
        to.send(_ANSWER.pack(ticket, status))
    except OSError:
        return
