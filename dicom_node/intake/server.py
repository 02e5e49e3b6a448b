"""Runs the storage provider: recovery, the port, those who receive, and the clerk who files.

`serve` blocks until `stopping` is set. With `intake.processes: 1` all of it happens in this
process. Nothing here knows a data set.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import structlog

from config.settings import Settings
from dicom_node.intake import crew, door, post, recovery, tls
from dicom_node.intake.board import Board
from dicom_node.intake.clerk import Clerk
from dicom_node.intake.crew import Crew, Listeners
from dicom_node.intake.events import EventName
from dicom_node.intake.filing import OBJECTS, Filer
from dicom_node.intake.ledger import Bookkeeper
from dicom_node.intake.post import Post
from dicom_node.intake.readiness import Readiness
from storage import Arrivals, Lane, Place, StorageBusy, lane_of

if TYPE_CHECKING:  # SQL: a receiving process has none
    from storage import Storage

LOOK = 1.0  # seconds between two looks at the disk
HANDOVER = 30.0  # seconds in which a former intake of this folder may end

log = structlog.get_logger()


class IntakeError(Exception):
    """Base of this room: the intake cannot start or go on."""


class PortTaken(IntakeError):
    """node.listen cannot be had. The process does not start."""


class TlsFailed(IntakeError):
    """Certificate, key or authorities of intake.tls cannot be used. The process does not start."""


class FolderTaken(IntakeError):
    """Another intake works on this data_dir. The process does not start."""


def serve(
    settings: Settings,
    storage: Storage,
    stopping: threading.Event,
    *,
    on_event: Callable[[str], None] | None = None,
    on_release: Callable[[str], None] = lambda _: None,
) -> None:
    """Receive instances until `stopping` is set.

    on_release: hears the Study Instance UID when the association that brought it was released.

    Raises: PortTaken if a port is in use, TlsFailed if intake.tls cannot be used, FolderTaken if
    another intake holds the log.
    """
    tell = on_event or (lambda _: None)
    listeners = _listeners(settings)
    stow = settings.intake.stow
    web = _listen("intake.stow.listen", stow.listen) if stow else None
    arrivals = _open_log(storage, stopping)
    books = Bookkeeper(storage.audit)
    board = Board()
    readiness = Readiness(settings, storage, board, tell)
    reads, writes = post.pair()
    intake = settings.intake
    filer = Filer(storage, arrivals, books, intake.on_conflict, intake.quarantine, tell,
                  on_release)  # fmt: skip
    size = crew.segment_size(settings)
    answers: dict[int, socket.socket] = {}
    objects: list[str] | None = None
    clerk = Clerk(
        reads, arrivals, filer, books, readiness, lambda *told: _answer(answers, *told), size,
        take_up=lambda: recovery.take_up(storage, filer, objects),
    )  # fmt: skip
    try:
        readiness.look()
        if clerk.begin():  # a database that is away must not keep us from A700
            arrivals.drop_lanes(crew.lanes(settings))
        else:  # tried again while instances come in: theirs are not among these
            objects = list(storage.spool.listing(OBJECTS))
        _say_started(settings)
        _watch(readiness, stopping)
        if crew.lanes(settings) == 1:
            _alone(
                settings, storage, stopping, listeners, Post(writes), answers, board, clerk, tell
            )
        else:
            Crew(settings, listeners, web, writes, answers, board, clerk).run(stopping)
    finally:
        stopping.set()
        books.close(timeout=5.0)
        arrivals.close()
        for one in (*listeners, web, reads, writes, *answers.values()):
            if one is not None:
                one.close()
        log.info(EventName.STOPPED)


def _alone(
    settings: Settings, storage: Storage, stopping: threading.Event, listeners: Listeners,
    mail: Post, answers: dict[int, socket.socket], board: Board, clerk: Clerk,
    tell: Callable[[str], None],
) -> None:  # fmt: skip
    """Receive in this process, with the clerk in a thread of its own."""
    from dicom_node.intake import receiving  # the network's library: only where it is needed

    done = threading.Event()
    mail.answers, answers[0] = post.pair()
    files = threading.Thread(target=_file_until, args=(clerk, done), name="intake-clerk")
    listens = threading.Thread(target=mail.listen, name="intake-answers", daemon=True)
    lane = Lane(storage.spool.arrivals, 0, crew.segment_size(settings))
    files.start()
    listens.start()
    try:
        receiving.receive(settings, storage.spool, lane, listeners, mail, board, stopping, tell)
    finally:
        done.set()
        files.join()
        answers[0].close()
        listens.join(1.0)
        mail.answers.close()
        lane.close()


def _file_until(clerk: Clerk, done: threading.Event) -> None:
    try:
        while not done.is_set():
            clerk.turn()
        clerk.finish()
    except BaseException:  # without its clerk the process must not go on answering
        log.exception(EventName.INSTANCE_FAILED)
        os._exit(70)


def _answer(answers: dict[int, socket.socket], place: Place, ticket: int, status: int) -> None:
    if to := answers.get(lane_of(place)):
        post.answer(to, ticket, status)


def _open_log(storage: Storage, stopping: threading.Event) -> Arrivals:
    until = time.monotonic() + HANDOVER
    while True:
        try:
            return Arrivals(storage.spool.arrivals)
        except StorageBusy as error:
            if time.monotonic() > until or stopping.is_set():
                raise FolderTaken(str(error)) from error
            stopping.wait(0.2)


def _say_started(settings: Settings) -> None:
    log.info(EventName.STARTED, listen=settings.node.listen, ae_title=settings.node.ae_title)
    if settings.intake.accept_from == "anyone":
        log.warning(EventName.ACCEPTS_ANYONE)


def _watch(readiness: Readiness, stopping: threading.Event) -> None:
    """Keep readiness true; in a thread of its own, since a look may block on a slow disk."""

    def look() -> None:
        while not stopping.wait(LOOK):
            try:
                readiness.look()
            except Exception:  # the edge of this thread: it must live as long as the process
                log.exception(EventName.NOT_READY)
        readiness.stopping()

    threading.Thread(target=look, name="intake-readiness", daemon=True).start()


def _listeners(settings: Settings) -> Listeners:
    """The plain port, and that of TLS if it is configured and can be used."""
    secure = settings.intake.tls
    if secure is None:
        return _listen("node.listen", settings.node.listen), None
    try:
        tls.context(secure)
    except tls.TlsUnusable as error:
        raise TlsFailed(str(error)) from error
    plain = _listen("node.listen", settings.node.listen)
    try:
        return plain, _listen("intake.tls.listen", secure.listen)
    except PortTaken:
        plain.close()
        raise


def _listen(key: str, address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    try:
        return door.listen(host.strip("[]"), int(port))
    except OSError as error:
        raise PortTaken(
            f"{key} {address} cannot be used ({error.strerror}). "
            "Stop the other program on this port, or choose another one."
        ) from error
