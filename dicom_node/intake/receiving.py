"""One process that receives: the door, the associations it admits, and what they share.

`receive` blocks until `stopping` is set, then turns newcomers away (RJ 2/3/1) and gives running
associations `limits.stop` seconds. In: a listening socket, the post to the clerk. Out: records in
this process' lane of the log. Never: the database, a pixel, a data set's meaning.
"""

from __future__ import annotations

import gc
import resource
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import pydicom.config
import structlog
from pynetdicom import AE, _config

from config.settings import Settings
from dicom_node import admission, ports
from dicom_node.admission import Offer, Rejection
from dicom_node.intake import contract, crew, ledger, tls
from dicom_node.intake.association import Guest
from dicom_node.intake.board import Board
from dicom_node.intake.door import Caller, Door, Entrance, Hooks
from dicom_node.intake.events import EventName
from dicom_node.intake.ledger import Bookkeeper, Sender
from dicom_node.intake.post import Post
from dicom_node.intake.readiness import Room
from dicom_node.intake.reception import (
    IMPLEMENTATION_CLASS_UID,
    IMPLEMENTATION_VERSION,
    House,
)
from storage import Lane, Spool, StorageError

RESOLVE = 60.0  # seconds between two look-ups of the hosts in accept_from
RETRY = 1.0  # seconds until the log is tried again on a disk that did not let it grow
TURN = 0.25

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Inherited:
    """What a process that only receives gets from the one who started it."""

    lane: int
    listener: socket.socket
    writes: socket.socket
    answers: socket.socket
    board: int
    tls: socket.socket | None = None


def receive_as(
    settings: Settings,
    inherited: Inherited,
    stopping: threading.Event,
    on_event: Callable[[str], None],
) -> None:
    """`receive` in a process of its own: its lane, its post."""
    spool, lane, mail, board = belongings(settings, inherited)
    listeners = inherited.listener, inherited.tls
    receive(settings, spool, lane, listeners, mail, board, stopping, on_event)


def belongings(settings: Settings, inherited: Inherited) -> tuple[Spool, Lane, Post, Board]:
    """What a receiving process works with, whichever door it keeps."""
    spool = Spool(settings.node.data_dir / "spool")
    lane = Lane(spool.arrivals, inherited.lane, crew.segment_size(settings))
    mail = Post(inherited.writes, inherited.answers)
    threading.Thread(target=mail.listen, name="intake-answers", daemon=True).start()
    return spool, lane, mail, Board(inherited.board)


def receive(
    settings: Settings,
    spool: Spool,
    lane: Lane,
    listeners: tuple[socket.socket, socket.socket | None],
    post: Post,
    board: Board,
    stopping: threading.Event,
    on_event: Callable[[str], None],
) -> None:
    """Receive instances in this process until `stopping` is set. Ends the listeners.

    listeners: the plain port's, and that of TLS if there is one.
    """
    prepare_process()
    books = Bookkeeper(post)
    room = Room(settings, spool, board, post.tell)
    house = House(settings, spool, lane, room, post, books, on_event, _swift())
    desk = _FrontDesk(house, Guests(board, lane.number), stopping)
    plain, secure = listeners
    context = tls.context(settings.intake.tls) if settings.intake.tls and secure else None
    entrances = [Entrance(plain), *([Entrance(secure, context)] if secure else [])]
    front = Door(entrances, settings.intake.limits.handshake, desk.hooks())
    try:
        desk.resolve()
        threading.Thread(target=desk.watch, name="intake-watch", daemon=True).start()
        while not stopping.is_set():
            front.turn(TURN)
        log.info(EventName.STOPPING, associations=len(desk.guests.everyone()))
        desk.see_out(front)
    finally:
        stopping.set()
        front.close()
        books.close(timeout=5.0)


@dataclass(slots=True)
class Guests:
    """The associations that run, and from where; other processes see them on the board."""

    _board: Board
    _row: int
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _open: dict[Guest, str] = field(default_factory=dict)

    def enter(self, guest: Guest, address: str) -> None:
        with self._lock:
            self._open[guest] = address
            self._board.write(self._row, Counter(self._open.values()))

    def leave(self, guest: Guest) -> None:
        with self._lock:
            if self._open.pop(guest, None) is not None:
                self._board.write(self._row, Counter(self._open.values()))

    def count(self, address: str) -> tuple[int, int]:
        """Associations of all processes: altogether, and from this address."""
        total, here = self._board.count(address, besides=self._row)
        with self._lock:
            mine = sum(one == address for one in self._open.values())
            return total + len(self._open), here + mine

    def everyone(self) -> list[Guest]:
        with self._lock:
            return list(self._open)


class _FrontDesk:
    """Answers the door with admission's decisions."""

    def __init__(self, house: House, guests: Guests, stopping: threading.Event) -> None:
        self._house, self.guests, self._stopping = house, guests, stopping
        self._ae = _application_entity(house.settings)
        self._peers: admission.Bindings | None = {}

    def hooks(self) -> Hooks:
        return Hooks(self._admit, self._enter, self._refused, self._unknown)

    def resolve(self) -> None:
        """Look the hosts of accept_from up; a name that does not resolve binds to nothing."""
        accept = self._house.settings.intake.accept_from
        hosts = [] if isinstance(accept, str) else [peer.host for peer in accept if peer.host]
        self._peers = admission.peers_by_title(accept, {host: _addresses(host) for host in hosts})

    def watch(self) -> None:
        """Keep the addresses of the peers true; its own thread: it may block."""
        wide = self._widened()
        while not self._stopping.wait(RESOLVE if wide else RETRY):
            wide = wide or self._widened()
            try:
                self.resolve()
            except Exception:  # the edge of this thread: it must live as long as the process
                log.exception(EventName.NOT_READY)

    def _widened(self) -> bool:
        try:
            self._house.lane.widen()
        except StorageError as error:  # the segments that are there will do
            self._house.room.trouble(error)
            return False
        return True

    def see_out(self, front: Door) -> None:
        until = time.monotonic() + self._house.settings.intake.limits.stop
        while self.guests.everyone() and time.monotonic() < until:
            front.turn(TURN)
        for guest in self.guests.everyone():
            guest.why = "the service stopped"
            guest.dul.event_queue.put("Evt19")
        until = time.monotonic() + 1.0
        while self.guests.everyone() and time.monotonic() < until:
            front.turn(TURN)

    def _admit(self, caller: Caller) -> Rejection | None:
        total, here = self.guests.count(caller.address)
        offer = Offer(
            caller.calling, caller.called, caller.address, total, here, self._stopping.is_set(),
            caller.certified,
        )  # fmt: skip
        settings = self._house.settings
        rejection = admission.admit_association(
            offer, settings.intake.limits, settings.node.ae_title, self._peers
        )
        if rejection:
            self._rejected(caller, rejection)
        return rejection

    def _rejected(self, caller: Caller, rejection: Rejection) -> None:
        sender = Sender(caller.calling, caller.called, caller.address, "")
        code = f"{rejection.result}/{rejection.source}/{rejection.reason}"
        log.warning(
            EventName.ASSOCIATION_REJECTED, answer=code, why=rejection.why,
            calling=caller.calling, called=caller.called, address=caller.address,
        )  # fmt: skip
        self._house.on_event(EventName.ASSOCIATION_REJECTED)
        if rejection.result == 1:  # permanent: somebody who should not be here
            self._house.books.write(
                ledger.alert(sender, rejection.why, kind=ledger.NODE_AUTHENTICATION, answer=code)
            )

    def _enter(self, conn: socket.socket, caller: Caller, first: bytes) -> None:
        guest = None
        try:
            guest = Guest(self._house, self._ae, conn, caller, first, self.guests.leave)
            self.guests.enter(guest, caller.address)
            guest.start()
        except (OSError, RuntimeError, ValueError):  # the peer is gone, or no thread is left
            log.exception(EventName.CONNECTION_REFUSED, address=caller.address)
            conn.close()
            if guest is not None:
                self.guests.leave(guest)

    def _unknown(self, address: str, why: str) -> None:
        """A TLS handshake failed: somebody who could not say who it is."""
        log.warning(EventName.CONNECTION_REFUSED, address=address, why=why)
        self._house.on_event(EventName.CONNECTION_REFUSED)
        sender = Sender("", "", address, "")
        self._house.books.write(ledger.alert(sender, why, kind=ledger.NODE_AUTHENTICATION))

    def _refused(self, address: str, why: str) -> None:
        log.info(EventName.CONNECTION_REFUSED, address=address, why=why)
        self._house.on_event(EventName.CONNECTION_REFUSED)
        if why.startswith("first PDU"):
            sender = Sender("", "", address, "")
            self._house.books.write(ledger.alert(sender, why, kind=ledger.NETWORK))


def _swift() -> bool:
    if why := contract.why_not_swift():
        log.warning(EventName.STOCK_PATH, why=why)
    return not why


def _addresses(host: str) -> frozenset[str]:
    try:
        return ports.addresses(host)
    except OSError as error:
        log.warning(EventName.CONNECTION_REFUSED, host=host, why=f"does not resolve: {error}")
        return frozenset()


def _application_entity(settings: Settings) -> AE:
    """pynetdicom's own limits, as a second line behind the door."""
    limits = settings.intake.limits
    ae = AE(settings.node.ae_title)
    ae.require_called_aet = True
    ae.maximum_associations = 2 * limits.associations + 100
    ae.acse_timeout = ae.connection_timeout = limits.handshake
    ae.network_timeout = ae.dimse_timeout = limits.idle
    ae.maximum_pdu_size = limits.pdu
    ae.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    ae.implementation_version_name = IMPLEMENTATION_VERSION
    return ae


def prepare_process() -> None:
    """What libraries log and check, and how many descriptors there are, in a receiving process."""
    # What was imported stays. The collector makes a whole round when a quarter of what survived the
    # last one is new: with nothing but associations to count, often, so that the circles of ended
    # ones do not pile up for minutes.
    gc.freeze()
    gc.collect()
    _config.LOG_HANDLER_LEVEL = "none"  # its log handlers format every PDU, names and all
    # What a value looks like is the pipeline's concern; warnings about it may quote patients.
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 16_384 if hard == resource.RLIM_INFINITY else min(hard, 16_384)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
