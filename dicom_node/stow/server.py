"""Accepts connections for the web door and lets uvicorn speak HTTP over them.

The accept loop is ours: a handshake is waited for by itself, with a deadline, and one that fails is
audited with the address; limits are counted by address; a connection whose headers do not come in
time is closed. uvicorn does the rest, its start and stop too. Never: a request's meaning.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import structlog
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from config.settings import Settings, Stow
from dicom_node.intake import ledger
from dicom_node.intake.ledger import Bookkeeper, Sender
from dicom_node.intake.readiness import Room
from dicom_node.intake.receiving import Inherited, belongings, prepare_process
from dicom_node.intake.reception import House
from dicom_node.stow.app import CALLED, App
from dicom_node.stow.events import EventName
from dicom_node.stow.keys import Keys, open_keys
from storage import StorageError

LONGEST_HEADERS = 1 << 14  # bytes of a request's line and headers together
KEEP_ALIVE = 30  # seconds between two requests
SURPLUS = 100  # connections beyond the limit that still hear 503

log = structlog.get_logger()


def receive_as(
    settings: Settings,
    inherited: Inherited,
    stopping: threading.Event,
    on_event: Callable[[str], None],
) -> None:
    """Take requests in this process until `stopping` is set. Raises KeysError."""
    stow = settings.intake.stow
    if stow is None:
        raise ValueError("intake.stow is not set in node.yaml: there is nothing to listen to")
    keys = open_keys(stow)
    prepare_process()
    for name in ("uvicorn", "python_multipart"):  # what they would say, we say with the address
        logging.getLogger(name).setLevel(logging.CRITICAL)
    spool, lane, post, board = belongings(settings, inherited)
    books = Bookkeeper(post)
    room = Room(settings, spool, board, post.tell)
    try:
        lane.widen()
    except StorageError as error:  # the segments that are there will do
        room.trouble(error)
    house = House(settings, spool, lane, room, post, books, on_event)
    try:
        with ThreadPoolExecutor(stow.limits.connections, "stow") as threads:
            app, grace = App(house, keys, stow.limits, threads), settings.intake.limits.stop
            server = Server(app, stow, keys, inherited.listener, stopping, grace)
            log.info(EventName.STARTED, listen=stow.listen, tls=keys.tls is not None)
            server.run(sockets=[])
    finally:
        books.close(timeout=5.0)
        log.info(EventName.STOPPED)


class Connection(H11Protocol):
    """uvicorn's HTTP/1.1, with a deadline for the headers of each request."""

    deadline: asyncio.TimerHandle | None = None
    patience = 10.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.app_state["subject"] = subject(transport.get_extra_info("peercert"))
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._calm()
        super().connection_lost(exc)
        self.app_state["on_end"]()

    def _watch(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self._calm()
        elif self.deadline is None:
            self.deadline = self.loop.call_later(self.patience, self.transport.abort)

    def _calm(self) -> None:
        if self.deadline is not None:
            self.deadline.cancel()
            self.deadline = None


class Server(uvicorn.Server):
    """uvicorn's life of a server; connections come from our own loop."""

    def __init__(
        self, app: App, stow: Stow, keys: Keys, listener: socket.socket,
        stopping: threading.Event, grace: float,
    ) -> None:  # fmt: skip
        super().__init__(
            uvicorn.Config(
                app, http=Connection, ws="none", lifespan="off", loop="asyncio", log_config=None,
                access_log=False, server_header=False, proxy_headers=False,
                h11_max_incomplete_event_size=LONGEST_HEADERS, timeout_keep_alive=KEEP_ALIVE,
                timeout_graceful_shutdown=round(grace),
            )
        )  # fmt: skip
        self._limits, self._tls, self._listener = stow.limits, keys.tls, listener
        self._house, self._stopping = app.house, stopping
        self._open: Counter[str] = Counter()
        self._arriving: set[asyncio.Task[None]] = set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """None of them: the process has its own ways to be told."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002
        self.servers = []
        self._listener.setblocking(False)
        self._accepting = asyncio.create_task(self._accept())
        self.started = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for task in (self._accepting, *self._arriving):
            task.cancel()
        await super().shutdown(sockets)

    async def on_tick(self, counter: int) -> bool:
        return self._stopping.is_set() or await super().on_tick(counter)

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                conn, where = await loop.sock_accept(self._listener)
            except OSError as error:  # no descriptor is left
                log.error(EventName.CONNECTION_REFUSED, why=error.strerror)
                await asyncio.sleep(0.5)
                continue
            address = str(where[0]).removeprefix("::ffff:")
            if self._open.total() >= self._limits.connections + SURPLUS:
                self._refused(address, "too many connections", audited=False)
                conn.close()
                continue
            task = asyncio.create_task(self._welcome(conn, address))
            self._arriving.add(task)
            task.add_done_callback(self._arriving.discard)

    async def _welcome(self, conn: socket.socket, address: str) -> None:
        """Have TLS, where it is asked for, and hand the connection to uvicorn."""
        limits = self._limits
        crowded = self._open.total() >= limits.connections
        crowded = crowded or self._open[address] >= limits.per_address
        self._open[address] += 1
        state = {"crowded": crowded, "on_end": lambda: self._ended(address)}

        def protocol() -> Connection:
            made = Connection(self.config, self.server_state, state)
            made.patience = limits.head
            return made

        options: dict[str, Any] = {"ssl_handshake_timeout": limits.head} if self._tls else {}
        try:
            conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await asyncio.get_running_loop().connect_accepted_socket(
                protocol, conn, ssl=self._tls, **options
            )
        except OSError as error:  # ssl.SSLError and time-outs too
            self._ended(address)
            why = getattr(error, "verify_message", "") or getattr(error, "reason", "") or "hung up"
            failed = isinstance(error, ssl.SSLError)
            self._refused(address, f"TLS: {why}", audited=failed)
        except asyncio.CancelledError:
            self._ended(address)
            raise

    def _ended(self, address: str) -> None:
        self._open[address] -= 1
        if self._open[address] <= 0:
            del self._open[address]

    def _refused(self, address: str, why: str, *, audited: bool) -> None:
        log.info(EventName.CONNECTION_REFUSED, address=address, why=why)
        self._house.on_event(EventName.CONNECTION_REFUSED)
        if audited:
            sender = Sender("", CALLED, address, f"web {address}")
            self._house.books.write(ledger.alert(sender, why, kind=ledger.NODE_AUTHENTICATION))


def subject(certificate: dict[str, Any] | None) -> str:
    """The common name of a verified certificate, in visible characters; "" if there is none."""
    names = [pair for part in (certificate or {}).get("subject", ()) for pair in part]
    text = next((str(value) for key, value in names if key == "commonName"), "")
    visible = text if text.isprintable() else text.encode("unicode_escape").decode("ascii")
    return visible.strip()[:64]
