"""The accepted socket of one association: the door's bytes first, bounded PDUs, bounded time.

One buffer, read by pynetdicom (`recv`) and by the fast path (`pdu`) alike, so that either may go on
where the other stopped. Its size is that of the longest PDU, whatever an instance weighs.
"""

from __future__ import annotations

import contextlib
import mmap
import select
import socket
import ssl
import struct
import time
from typing import Any

from pynetdicom.transport import AssociationSocket

from dicom_node.intake.door import INVALID, abort_pdu

AHEAD = 1 << 14  # bytes beyond one PDU that may be read with it; they are moved afterwards
_HEAD = struct.Struct(">BxL")


class Line(AssociationSocket):  # type: ignore[misc]
    """longest: PDU that we announced, in bytes. patience: seconds for one PDU."""

    def __init__(
        self, assoc: Any, conn: socket.socket, first: bytes, longest: int, patience: float
    ) -> None:
        super().__init__(assoc, client_socket=conn)
        self._conn, self._patience = conn, patience
        self._secure = conn if isinstance(conn, ssl.SSLSocket) else None
        self._longest = max(longest, len(first))
        # not a bytearray: of this only what was used takes memory
        self._buffer = mmap.mmap(-1, self._longest + _HEAD.size + AHEAD)
        self._view = memoryview(self._buffer)
        self._at, self._end = 0, len(first)
        self._view[: self._end] = first
        conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        conn.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        conn.settimeout(patience)
        self._poll = select.poll()  # select() cannot see descriptors above 1023
        self._poll.register(conn, select.POLLIN)

    def close(self) -> None:
        """As the library's; with TLS the peer hears that nothing was cut off (RFC 8446 6.1)."""
        if self._secure is not None and self.socket is not None:
            with contextlib.suppress(OSError, ValueError):
                self._secure.setblocking(False)
                self._secure.unwrap()
        super().close()

    def end(self) -> None:
        """Close for good: the library's close leaves a reset socket open."""
        self.close()
        self._conn.close()

    @property
    def ready(self) -> bool:
        return self.wait(0)

    def wait(self, seconds: float) -> bool:
        """Whether there is something to read, now or within so many seconds."""
        if self.socket is None or not self._is_connected:
            return False
        waiting = self._end > self._at or (self._secure is not None and self._secure.pending() > 0)
        return waiting or bool(self._poll.poll(seconds * 1000))

    def recv(self, nr_bytes: int) -> bytearray:
        """Exactly so many bytes, or fewer if the peer hung up (pynetdicom's convention)."""
        self._check(nr_bytes)
        with contextlib.suppress(ConnectionError):
            self._fill(nr_bytes)
        out = bytearray(self._buffer[self._at : min(self._end, self._at + nr_bytes)])
        self._at += len(out)
        return out

    def peek(self) -> int:
        """The type of the next PDU. Raises OSError if none comes."""
        self._fill(1)
        return self._buffer[self._at]

    def pdu(self) -> memoryview:
        """The variable field of the next PDU, good until the next call. Raises OSError."""
        self._fill(_HEAD.size)
        _, length = _HEAD.unpack_from(self._buffer, self._at)
        self._check(length)
        self._fill(_HEAD.size + length)
        at = self._at + _HEAD.size
        self._at = at + length
        return self._view[at : self._at]

    def put(self, data: bytes) -> None:
        """Send all of it. Raises OSError."""
        self._conn.sendall(data)

    def _check(self, length: int) -> None:
        if length > self._longest:
            with contextlib.suppress(OSError):
                self._conn.sendall(abort_pdu(INVALID))
            raise OSError("a PDU longer than announced")

    def _fill(self, count: int) -> None:
        """Have `count` bytes behind each other in the buffer. Raises OSError."""
        if self._end - self._at >= count:
            return
        if self._at + count > len(self._buffer) or self._at == self._end:
            left = self._end - self._at
            self._buffer[:left] = self._buffer[self._at : self._end]
            self._at, self._end = 0, left
        until = time.monotonic() + self._patience
        while self._end - self._at < count:
            if time.monotonic() > until:
                raise TimeoutError("a PDU that does not end")
            got = self._conn.recv_into(self._view[self._end : self._at + count + AHEAD])
            if not got:
                raise ConnectionResetError("the peer hung up")
            self._end += got
