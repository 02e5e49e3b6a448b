"""Listens for MLLP, one thread a connection, and answers each message before the next is read.

`serve` blocks until `stopping` is set; what is in hand then is still answered. Limits as at the
door for images: connections in all and from one address, length of a message, time from its first
byte to its last, silence. A stranger hears AR to its first message and is let go. Nothing here
knows what a message says.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import datetime

import structlog

from config import Settings
from config.settings import Mllp, MllpLimits
from dicom_node import ports
from dicom_node.inbox import desk as desks
from dicom_node.inbox.answer import STRANGER, TOO_LONG, Answer, framed
from dicom_node.inbox.desk import Desk
from dicom_node.inbox.events import EventName
from dicom_node.inbox.frames import Frames, TooLong
from dicom_node.inbox.message import head
from storage import Storage

TURN = 0.25  # seconds between two looks at `stopping`
RESOLVE = 60.0  # seconds between two look-ups of the hosts in accept_from
STRAY = 4096  # bytes outside of any frame after which a sender speaks no MLLP
GOODBYE = 1.0  # seconds for a peer to read why before the connection is closed
_STRANGERS = MllpLimits(message=65536, receive=5.0, idle=5.0)

log = structlog.get_logger()


class InboxError(Exception):
    """Base of this room: the listener cannot start."""


class PortTaken(InboxError):
    """intake.mllp.listen cannot be had."""


@dataclass(slots=True)
class Guests:
    """The connections that are open, and from where."""

    _lock: threading.Lock = field(default_factory=threading.Lock)
    _open: dict[threading.Thread, str] = field(default_factory=dict)

    def enter(self, thread: threading.Thread, address: str, limits: MllpLimits) -> str:
        """Why this one may not come in, or "" and it is counted."""
        with self._lock:
            if len(self._open) >= limits.connections:
                return "too many connections"
            if sum(one == address for one in self._open.values()) >= limits.per_address:
                return "too many connections from this address"
            self._open[thread] = address
            return ""

    def leave(self, thread: threading.Thread) -> None:
        with self._lock:
            self._open.pop(thread, None)

    def everyone(self) -> list[threading.Thread]:
        with self._lock:
            return list(self._open)


def serve(
    settings: Settings,
    storage: Storage,
    stopping: threading.Event,
    *,
    on_event: Callable[[str], None] | None = None,
) -> None:
    """Take messages in this process until `stopping` is set. Raises PortTaken."""
    mllp = settings.intake.mllp
    if mllp is None:
        raise InboxError("intake.mllp is not set in node.yaml: there is nothing to listen to.")
    desk = Desk(settings, mllp, storage, on_event or (lambda _event: None))
    listener, guests, known = _listen(mllp.listen), Guests(), _Known(mllp)
    log.info(EventName.STARTED, listen=mllp.listen)
    if mllp.accept_from == "anyone":
        log.warning(EventName.ACCEPTS_ANYONE)
    try:
        while not stopping.is_set():
            with contextlib.suppress(TimeoutError):
                conn, where = listener.accept()
                _let_in(desk, guests, known, (conn, _plain(str(where[0]))), stopping)
    finally:
        stopping.set()
        listener.close()
        until = time.monotonic() + settings.intake.limits.stop
        for thread in guests.everyone():
            thread.join(max(0.0, until - time.monotonic()))
        log.info(EventName.STOPPED)


class _Known:
    """The addresses of accept_from, looked up anew from time to time."""

    def __init__(self, mllp: Mllp) -> None:
        self._hosts = mllp.accept_from
        self._addresses: frozenset[str] = frozenset()
        self._at = float("-inf")

    def __contains__(self, address: str) -> bool:
        if self._hosts == "anyone":
            return True
        if time.monotonic() - self._at > RESOLVE:
            self._addresses = frozenset(a for host in self._hosts for a in addresses(host))
            self._at = time.monotonic()
        return address in self._addresses


def addresses(host: str) -> Collection[str]:
    """The IP addresses of a host; none if it does not resolve."""
    try:
        return ports.addresses(host)
    except OSError as error:
        log.warning(EventName.TURNED_AWAY, host=host, why=f"does not resolve: {error}")
        return ()


def _let_in(
    desk: Desk,
    guests: Guests,
    known: _Known,
    visitor: tuple[socket.socket, str],
    stopping: threading.Event,
) -> None:
    conn, address = visitor
    stranger = address not in known

    def converse() -> None:
        try:
            with conn:
                _converse(desk, conn, address, stranger, stopping)
        except Exception:  # the edge of this thread: one bad peer ends its own connection alone
            log.exception(EventName.FAILED, address=address)
            desk.on_event(EventName.FAILED)
        finally:
            guests.leave(threading.current_thread())

    thread = threading.Thread(target=converse, name=f"mllp {address}", daemon=True)
    if why := guests.enter(thread, address, desk.mllp.limits):
        _turned_away(desk, address, why)
        conn.close()
        return
    try:
        thread.start()
    except RuntimeError:  # no thread is left
        guests.leave(thread)
        conn.close()


def _converse(
    desk: Desk, conn: socket.socket, address: str, stranger: bool, stopping: threading.Event
) -> None:
    """One connection to its end."""
    limits = _STRANGERS if stranger else desk.mllp.limits
    conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    conn.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    frames, since = Frames(limits.message), time.monotonic()
    while not stopping.is_set():
        deadline = since + (limits.receive if frames.inside else limits.idle)
        left = deadline - time.monotonic()
        if left <= 0:
            if frames.inside:
                _broken(desk, address, EventName.LATE, "a message did not end in time")
            return
        conn.settimeout(min(TURN, left))
        try:
            chunk = conn.recv(1 << 16)
        except TimeoutError:
            continue
        except OSError:
            chunk = b""
        if not chunk:
            if frames.inside:
                _broken(desk, address, EventName.NO_FRAME, "hung up inside a message")
            return
        was_inside, cut = frames.inside, frames.cut
        try:
            messages = frames.feed(chunk)
        except TooLong as error:
            refused = STRANGER if stranger else TOO_LONG
            top = head(error.head)
            desks.refuse(desk, error.head, top, address, refused)
            _farewell(conn, Answer(top, refused))
            return
        if frames.cut > cut:
            _broken(desk, address, EventName.NO_FRAME, "a message without an end before the next")
        for data in messages:
            if stranger:
                _turned_away(desk, address, STRANGER.why)
                _farewell(conn, Answer(head(data), STRANGER))
                return
            if not _say(conn, desks.take(desk, data, address), limits):
                return
        if frames.stray > STRAY:
            _broken(desk, address, EventName.NO_FRAME, "bytes outside of any MLLP frame")
            return
        if messages or frames.inside != was_inside or not frames.inside:
            since = time.monotonic()


def _say(conn: socket.socket, answer: Answer, limits: MllpLimits) -> bool:
    """False if the peer is gone: it will send the message again and hear AA then."""
    conn.settimeout(limits.receive)
    try:
        conn.sendall(framed(answer, datetime.now().astimezone()))
    except OSError:
        return False
    return True


def _farewell(conn: socket.socket, answer: Answer) -> None:
    """Say why and wait a moment: closing at once would destroy the answer on its way."""
    if not _say(conn, answer, _STRANGERS):
        return
    until = time.monotonic() + GOODBYE
    with contextlib.suppress(OSError):
        conn.shutdown(socket.SHUT_WR)
        while (left := until - time.monotonic()) > 0:
            conn.settimeout(left)
            if not conn.recv(1 << 16):
                return


def _turned_away(desk: Desk, address: str, why: str) -> None:
    log.warning(EventName.TURNED_AWAY, address=address, why=why)
    desk.on_event(EventName.TURNED_AWAY)


def _broken(desk: Desk, address: str, event: EventName, why: str) -> None:
    log.warning(event, address=address, why=why)
    desk.on_event(event)


def _listen(address: str) -> socket.socket:
    family, host, port = ports.split(address)
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(128)
        listener.settimeout(TURN)
    except OSError as error:
        listener.close()
        raise PortTaken(
            f"intake.mllp.listen {address} cannot be used ({error.strerror}). "
            "Stop the other program on this port, or choose another one."
        ) from error
    return listener


def _plain(address: str) -> str:
    return address.removeprefix("::ffff:")
