"""The door: holds every new connection until it has said, in time and soundly, who it is.

One thread reads the first PDU of each connection with a deadline, a size limit and a check of its
structure; only a whole A-ASSOCIATE-RQ that admission takes becomes an association. A silent or
hostile socket costs one file descriptor for `limits.handshake` and nothing else. The deadline runs
from the connection (ARTIM, PS3.8 9.1.5), not from the last byte. On the TLS port the handshake is
held here too, step by step, within the same deadline, and nothing is set up for it before a byte
came. Never: DIMSE, storage, a wait for one peer.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import ssl
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from dicom_node.admission import Rejection
from dicom_node.intake import tls

FIRST_PDU = 1 << 17  # bytes; 128 contexts with 45 syntaxes each take 140 KB at the very most
PLACES = 1000  # connections that may wait; the oldest leaves first
GOODBYE = 2.0  # seconds for a refused peer to read why and to hang up
DROPPED = 1 << 20  # bytes that a refused peer may still send meanwhile
BACKLOG = 1024
BREATH = 0.05  # seconds, where nothing can be accepted and nobody sent away for it
_ASSOCIATE_RQ, _CALLED, _CALLING = 1, slice(10, 26), slice(26, 42)
_ITEMS = 74  # where the variable items of an A-ASSOCIATE-RQ begin
UNRECOGNISED, UNEXPECTED, INVALID = 1, 2, 6  # reasons of an A-ABORT, PS3.8 9.3.8


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, with control characters of the titles made visible.

    certified: whom its verified TLS certificate names.
    """

    calling: str
    called: str
    address: str
    port: int
    certified: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Hooks:
    """What the door asks and tells: none of these may block."""

    admit: Callable[[Caller], Rejection | None]
    enter: Callable[[socket.socket, Caller, bytes], None]
    refused: Callable[[str, str], None]  # address, why
    unknown: Callable[[str, str], None]  # address, why its TLS handshake failed


@dataclass(frozen=True, slots=True)
class Entrance:
    """One listening socket. context: of TLS, or None."""

    listener: socket.socket
    context: ssl.SSLContext | None = None


@dataclass(slots=True)
class _Visitor:
    address: tuple[str, int]
    until: float
    first: bytearray = field(default_factory=bytearray)
    leaving: bool = False
    dropped: int = 0
    context: ssl.SSLContext | None = None  # of TLS, until its first byte came
    shaking: bool = False  # the TLS handshake is under way


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; OSError if the port cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


def sound(request: bytes) -> bool:
    """Whether item lengths add up and context ids are odd (PS3.8 9.3.2)."""
    at = _ITEMS
    while at + 4 <= len(request):
        kind, size = struct.unpack_from(">BxH", request, at)
        if kind == 0x20 and (size < 4 or not request[at + 4 : at + 5] or not request[at + 4] & 1):
            return False
        at += 4 + size
    return at == len(request)


def abort_pdu(reason: int) -> bytes:
    """An A-ABORT of the service provider."""
    return struct.pack(">BxLxxBB", 7, 4, 2, reason)


def reject_pdu(answer: Rejection) -> bytes:
    return struct.pack(">BxLxBBB", 3, 4, answer.result, answer.source, answer.reason)


def visible(raw: bytes) -> str:
    """An AE title as text that cannot move a cursor or begin a line."""
    text = raw.decode("latin-1").strip(" \0")
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")


class Door:
    """Call `turn` again and again from one thread."""

    def __init__(self, entrances: Sequence[Entrance], handshake: float, hooks: Hooks) -> None:
        self._entrances, self._handshake, self._hooks = entrances, handshake, hooks
        self._selector = selectors.DefaultSelector()
        self._visitors: dict[socket.socket, _Visitor] = {}  # insertion order is age
        for entrance in entrances:
            self._selector.register(entrance.listener, selectors.EVENT_READ, entrance)

    def turn(self, timeout: float) -> None:
        """Serve whatever happens within `timeout` seconds."""
        for key, _ in self._selector.select(timeout):
            if isinstance(key.data, Entrance):
                self._accept(key.data)
            elif isinstance(key.fileobj, socket.socket) and key.fileobj in self._visitors:
                self._read(key.fileobj)
        now = time.monotonic()
        late = [conn for conn, visitor in self._visitors.items() if visitor.until < now]
        for conn in late:
            visitor = self._visitors[conn]
            why = "no TLS handshake in time" if visitor.shaking else "no association in time"
            self._close(conn, "" if visitor.leaving else why)

    def close(self) -> None:
        for conn in list(self._visitors):
            self._close(conn, "")
        self._selector.close()
        for entrance in self._entrances:
            entrance.listener.close()

    def _accept(self, entrance: Entrance) -> None:
        try:
            conn, address = entrance.listener.accept()
        except BlockingIOError:  # another process that shares the port took it
            return
        except OSError:  # gone again, or no file descriptor left: the oldest makes room
            if not self._visitors:
                time.sleep(BREATH)
            self._make_room(len(self._visitors) - 1)
            return
        conn.setblocking(False)
        self._make_room(PLACES - 1)
        host = str(address[0]).removeprefix("::ffff:")
        until = time.monotonic() + self._handshake
        self._visitors[conn] = _Visitor((host, int(address[1])), until, context=entrance.context)
        self._selector.register(conn, selectors.EVENT_READ)

    def _make_room(self, most: int) -> None:
        while len(self._visitors) > max(most, 0):
            self._close(next(iter(self._visitors)), "too many waiting connections")

    def _forget(self, conn: socket.socket) -> _Visitor:
        self._selector.unregister(conn)
        return self._visitors.pop(conn)

    def _close(self, conn: socket.socket, why: str) -> None:
        visitor = self._forget(conn)
        conn.close()
        if why:
            self._hooks.refused(visitor.address[0], why)

    def _read(self, conn: socket.socket) -> None:
        visitor = self._visitors[conn]
        if visitor.context is not None:
            self._begin_tls(conn, visitor, visitor.context)
            return
        if visitor.shaking and isinstance(conn, ssl.SSLSocket):
            self._shake(conn, visitor)
            return
        try:
            data = conn.recv(1 << 16)
        except (BlockingIOError, ssl.SSLWantReadError):
            return
        except OSError:
            data = b""
        if isinstance(conn, ssl.SSLSocket) and conn.pending():  # no event will tell of it
            data += conn.recv(conn.pending())
        if not data:  # a health check connects and hangs up: no event
            unfinished = visitor.first and not visitor.leaving  # who was told to go may go
            self._close(conn, "hung up inside its first PDU" if unfinished else "")
        elif visitor.leaving:
            visitor.dropped += len(data)
            if visitor.dropped > DROPPED:
                self._close(conn, "")
        else:
            visitor.first += data
            self._judge(conn, visitor)

    def _begin_tls(self, conn: socket.socket, visitor: _Visitor, context: ssl.SSLContext) -> None:
        try:
            if not conn.recv(1, socket.MSG_PEEK):
                raise ConnectionResetError
        except BlockingIOError:
            return
        except OSError:  # a health check connects and hangs up
            self._close(conn, "")
            return
        self._forget(conn)
        try:
            secure = context.wrap_socket(conn, server_side=True, do_handshake_on_connect=False)
        except OSError:  # gone since
            conn.close()
            return
        visitor.context, visitor.shaking = None, True
        self._visitors[secure] = visitor
        self._selector.register(secure, selectors.EVENT_READ)
        self._shake(secure, visitor)

    def _shake(self, conn: ssl.SSLSocket, visitor: _Visitor) -> None:
        """Go on with the handshake as far as it goes now."""
        wanted = selectors.EVENT_READ
        try:
            conn.do_handshake()
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLWantWriteError:
            wanted = selectors.EVENT_WRITE
        except OSError as error:
            self._forget(conn)
            conn.close()
            self._hooks.unknown(visitor.address[0], tls.why(error))
            return
        else:
            visitor.shaking = False
        self._selector.modify(conn, wanted)
        if not visitor.shaking:
            self._read(conn)  # what came with the last of the handshake

    def _judge(self, conn: socket.socket, visitor: _Visitor) -> None:
        first = visitor.first
        if first[0] != _ASSOCIATE_RQ:
            reason = UNEXPECTED if 2 <= first[0] <= 7 else UNRECOGNISED
            self._send_off(conn, abort_pdu(reason), _stranger(bytes(first)))
            return
        if len(first) < 6:
            return
        size = 6 + int(struct.unpack_from(">L", first, 2)[0])
        if size > FIRST_PDU or size < _ITEMS:
            self._send_off(conn, abort_pdu(INVALID), "A-ASSOCIATE-RQ of an impossible length")
        elif len(first) >= size:
            self._whole(conn, visitor, size)

    def _whole(self, conn: socket.socket, visitor: _Visitor, size: int) -> None:
        first = bytes(visitor.first)
        if not sound(first[:size]):
            self._send_off(conn, abort_pdu(INVALID), "A-ASSOCIATE-RQ that does not add up")
            return
        certified = (
            tls.names(conn.getpeercert()) if isinstance(conn, ssl.SSLSocket) else frozenset()
        )
        titles = visible(first[_CALLING]), visible(first[_CALLED])
        caller = Caller(*titles, *visitor.address, certified)
        if rejection := self._hooks.admit(caller):
            self._send_off(conn, reject_pdu(rejection), "")
            return
        self._forget(conn)
        conn.setblocking(True)
        self._hooks.enter(conn, caller, first)

    def _send_off(self, conn: socket.socket, pdu: bytes, why: str) -> None:
        """Say goodbye and wait a moment: closing at once would destroy the answer on its way."""
        visitor = self._visitors[conn]
        visitor.leaving, visitor.until = True, time.monotonic() + GOODBYE
        with contextlib.suppress(OSError):
            conn.send(pdu)
            if isinstance(conn, ssl.SSLSocket):
                conn.unwrap()  # says that nothing follows; what it waits for, `until` ends
            else:
                conn.shutdown(socket.SHUT_WR)
        if why:
            self._hooks.refused(visitor.address[0], why)


def _stranger(first: bytes) -> str:
    if first[:1] == b"\x16":
        return "TLS on the plain port"
    if first[:4] in (b"GET ", b"POST", b"HEAD", b"OPTI", b"PUT ", b"PRI "):
        return "HTTP on the DICOM port"
    return f"first PDU of type {first[0]:02X}H"
