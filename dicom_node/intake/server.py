"""Runs the storage provider: listens, admits, starts associations, stops.

`serve` blocks until `stopping` is set, then turns newcomers away (RJ 2/3/1) and gives running
associations `limits.stop` seconds. Nothing here knows a data set.
"""

from __future__ import annotations

import resource
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import pydicom.config
import structlog
from pynetdicom import AE, _config

from config.settings import Settings
from dicom_node import admission
from dicom_node.admission import Offer, Rejection
from dicom_node.intake import door, ledger, recovery
from dicom_node.intake.association import Guest
from dicom_node.intake.door import Caller, Door, Hooks
from dicom_node.intake.events import EventName
from dicom_node.intake.ledger import Bookkeeper, Sender
from dicom_node.intake.readiness import Readiness
from dicom_node.intake.reception import (
    IMPLEMENTATION_CLASS_UID,
    IMPLEMENTATION_VERSION,
    House,
)
from storage import Storage, StorageError

LOOK = 1.0  # seconds between two looks at the disk
RESOLVE = 60.0  # seconds between two look-ups of the hosts in accept_from
TURN = 0.25

log = structlog.get_logger()


class IntakeError(Exception):
    """Base of this room: the intake cannot start or go on."""


class PortTaken(IntakeError):
    """node.listen cannot be had. The process does not start."""


@dataclass(slots=True)
class Guests:
    """The associations that run, and from where."""

    _lock: threading.Lock = field(default_factory=threading.Lock)
    _open: dict[Guest, str] = field(default_factory=dict)

    def enter(self, guest: Guest, address: str) -> None:
        with self._lock:
            self._open[guest] = address

    def leave(self, guest: Guest) -> None:
        with self._lock:
            self._open.pop(guest, None)

    def count(self, address: str) -> tuple[int, int]:
        with self._lock:
            return len(self._open), sum(one == address for one in self._open.values())

    def everyone(self) -> list[Guest]:
        with self._lock:
            return list(self._open)


def serve(
    settings: Settings,
    storage: Storage,
    stopping: threading.Event,
    *,
    on_event: Callable[[str], None] | None = None,
) -> None:
    """Receive instances in this process until `stopping` is set.

    Raises: PortTaken if node.listen is in use.
    """
    tell = on_event or (lambda _: None)
    listener = _listen(settings.node.listen)
    _prepare_process()
    books = Bookkeeper(storage.audit)
    readiness = Readiness(settings, storage, tell)
    house = House(settings, storage, readiness, books, tell)
    reception = _FrontDesk(house, stopping)
    watch = threading.Thread(target=reception.watch, name="intake-watch", daemon=True)
    front = Door(listener, settings.intake.limits.handshake, reception.hooks())
    try:
        reception.resolve()
        _take_up(storage)
        watch.start()
        log.info(EventName.STARTED, listen=settings.node.listen, ae_title=settings.node.ae_title)
        if settings.intake.accept_from == "anyone":
            log.warning(EventName.ACCEPTS_ANYONE)
        while not stopping.is_set():
            front.turn(TURN)
        readiness.stopping()
        log.info(EventName.STOPPING, associations=len(reception.guests.everyone()))
        reception.see_out(front)
    finally:
        stopping.set()
        front.close()
        books.close(timeout=5.0)
        log.info(EventName.STOPPED)


class _FrontDesk:
    """Answers the door with admission's decisions."""

    def __init__(self, house: House, stopping: threading.Event) -> None:
        self._house, self._stopping = house, stopping
        self._ae = _application_entity(house.settings)
        self._peers: admission.Addresses | None = {}
        self.guests = Guests()

    def hooks(self) -> Hooks:
        return Hooks(self._admit, self._enter, self._refused)

    def resolve(self) -> None:
        """Look the hosts of accept_from up; a name that does not resolve binds to nothing."""
        accept = self._house.settings.intake.accept_from
        hosts = [] if isinstance(accept, str) else [peer.host for peer in accept if peer.host]
        self._peers = admission.peers_by_title(accept, {host: _addresses(host) for host in hosts})

    def watch(self) -> None:
        """Keep readiness and the addresses of the peers true; its own thread: it may block."""
        resolved = time.monotonic()
        self._house.readiness.look()
        while not self._stopping.wait(LOOK):
            try:
                self._house.readiness.look()
                if time.monotonic() - resolved > RESOLVE:
                    self.resolve()
                    resolved = time.monotonic()
            except Exception:  # the edge of this thread: it must live as long as the process
                log.exception(EventName.NOT_READY)

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
            caller.calling, caller.called, caller.address, total, here, self._stopping.is_set()
        )
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

    def _refused(self, address: str, why: str) -> None:
        log.info(EventName.CONNECTION_REFUSED, address=address, why=why)
        self._house.on_event(EventName.CONNECTION_REFUSED)
        if why.startswith("first PDU"):
            sender = Sender("", "", address, "")
            self._house.books.write(ledger.alert(sender, why, kind=ledger.NETWORK))


def _take_up(storage: Storage) -> None:
    """After a crash of this process alone; a database that is away must not keep us from A700."""
    try:
        recovery.take_up(storage)
    except StorageError as error:
        log.error(EventName.RECOVERED, error=type(error).__name__)


def _listen(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    try:
        return door.listen(host.strip("[]"), int(port))
    except OSError as error:
        raise PortTaken(
            f"node.listen {address} cannot be used ({error.strerror}). "
            "Stop the other program on this port, or choose another one."
        ) from error


def _addresses(host: str) -> frozenset[str]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        log.warning(EventName.CONNECTION_REFUSED, host=host, why=f"does not resolve: {error}")
        return frozenset()
    return frozenset(str(entry[4][0]).removeprefix("::ffff:") for entry in found)


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


def _prepare_process() -> None:
    _config.LOG_HANDLER_LEVEL = "none"  # its log handlers format every PDU, names and all
    # What a value looks like is the pipeline's concern; warnings about it may quote patients.
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 16_384 if hard == resource.RLIM_INFINITY else min(hard, 16_384)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
