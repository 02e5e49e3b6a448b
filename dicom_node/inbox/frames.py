"""Cuts a stream of bytes into MLLP frames: VT, message, FS (CR).

In: bytes as they come, one at a time or many messages at once. Out: whole messages. A frame in
which another one begins was cut off: what came of it is dropped, for nobody will acknowledge it.
The CR after FS is not waited for: a sender that forgets it gets its answer all the same.
Never: more than `limit` bytes in memory.
"""

from __future__ import annotations

VT, FS = 0x0B, 0x1C
_BETWEEN = b"\r\n \x00"  # what may stand between two frames and means nothing


class TooLong(Exception):
    """A frame grew beyond the limit; `head` is its beginning."""

    def __init__(self, head: bytes) -> None:
        super().__init__("the message is longer than the limit")
        self.head = head


class Frames:
    """The frames of one connection. inside: a message has begun and not ended. stray: bytes since
    the last frame that belong to none. cut: messages that another one cut off."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = bytearray()
        self.inside = False
        self.stray = 0
        self.cut = 0

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that `data` completes. Raises TooLong."""
        found: list[bytes] = []
        while data:
            data = self._inner(data, found) if self.inside else self._outer(data)
        return found

    def _outer(self, data: bytes) -> bytes:
        before, start, rest = data.partition(bytes([VT]))
        self.stray += sum(byte not in _BETWEEN for byte in before)
        self.inside = bool(start)
        self._held.clear()
        return rest

    def _inner(self, data: bytes, found: list[bytes]) -> bytes:
        ends = [place for mark in (VT, FS) if (place := data.find(mark)) >= 0]
        end = min(ends, default=len(data))
        self._held += data[:end]
        if len(self._held) > self._limit:
            raise TooLong(bytes(self._held[:4096]))
        if not ends:
            return b""
        if data[end] == FS:
            found.append(bytes(self._held))
            self.inside, self.stray = False, 0
        else:
            self.cut += 1
        self._held.clear()
        return data[end + 1 :]
