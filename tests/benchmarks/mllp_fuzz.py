"""Bytes that no RIS would send, at a running door for reports; a part of `intake_fuzz.py`.

Messages and their frames have accidents. After each, whatever was answered AA has its row, and
where the frame was whole its very bytes; nothing failed inside, and the next message is taken.
"""

from __future__ import annotations

import hashlib
import socket
from itertools import count

import inbox_lab
from hypothesis import given
from hypothesis import strategies as st

from dicom_node.inbox import EventName

_NUMBERS = count(1)
_MARKS = (b"\x0b", b"\x1c")


class Fuzz:
    """One door under attack."""

    def __init__(self, door: inbox_lab.Door) -> None:
        self.door, self.examples = door, 0

    def message(self, raw: bytes, wire: bytes) -> None:
        """raw: a message that may be nonsense; wire: its frame that may be torn."""
        before = self._taken()
        answers = self._answers(wire)
        accepted = sum("MSA|AA" in one or "MSA|CA" in one for one in answers)
        assert self._taken() - before >= accepted, f"{accepted} x AA, nothing new is known"
        whole = wire == inbox_lab.framed(raw) and not any(mark in raw for mark in _MARKS)
        if accepted and whole:
            digest = hashlib.sha256(raw).hexdigest()
            kept = [m for m in self.door.storage.inbox.list(limit=50) if m.sha256 == digest]
            assert kept, "AA for bytes that are nowhere"
            assert self.door.storage.spool.read(kept[0].path) == raw
        assert self.door.events[EventName.FAILED] == 0
        self.examples += 1
        if self.examples % 20 == 0:
            assert self.door.send(inbox_lab.oru(control=f"GOOD{next(_NUMBERS)}")) == ["AA"]

    def _taken(self) -> int:
        told = self.door.storage.inbox.list(limit=1_000_000)
        return sum(1 + message.repeats for message in told)

    def _answers(self, wire: bytes) -> list[str]:
        held = b""
        with self.door.connect(5) as conn:
            try:
                conn.sendall(wire)
                conn.shutdown(socket.SHUT_WR)
                while chunk := conn.recv(1 << 16):
                    held += chunk
            except (TimeoutError, ConnectionError):
                pass
        return held.decode("ascii", "replace").split("\x1c\r")[:-1]


def attack(fuzz: Fuzz, edits: st.SearchStrategy, changed, how) -> None:
    """One round. edits, changed, how: accidents, what makes them, settings; of `intake_fuzz`."""

    @how
    @given(message=edits, frame=edits)
    def each(message: list[tuple[str, int, bytes]], frame: list[tuple[str, int, bytes]]) -> None:
        good = inbox_lab.oru(control=f"F{next(_NUMBERS)}").encode()
        raw = changed(good, message)
        fuzz.message(raw, changed(inbox_lab.framed(raw), frame))

    each()
