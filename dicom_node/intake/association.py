"""One association inside pynetdicom 3: its negotiation and state machine, our messages.

pynetdicom keeps PS3.8 (negotiation, release, abort, timers); what it leaves open is set here:
PDU length, time for one PDU, TCP_NODELAY, fragments, back-pressure. DIMSE is ours (`messages`), so
that a data set is streamed and every C-STORE gets its answer, whatever its UIDs look like.
The private names of pynetdicom that this file touches are all it would take to replace it.
"""

from __future__ import annotations

import contextlib
import queue
import select
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import structlog
from pynetdicom import AE, build_context, evt
from pynetdicom._globals import MODE_ACCEPTOR
from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dul import DULServiceProvider
from pynetdicom.pdu_primitives import P_DATA
from pynetdicom.transport import AddressInformation, AssociationSocket

from dicom_node import admission
from dicom_node.admission import Asked
from dicom_node.intake import ledger, messages, receive
from dicom_node.intake.door import INVALID, Caller, abort_pdu
from dicom_node.intake.events import EventName
from dicom_node.intake.ledger import Sender, Transfer
from dicom_node.intake.messages import Assembler, Command, Message, ProtocolError
from dicom_node.intake.reception import House, Reception

READ = 1 << 18  # bytes asked of the kernel at once

log = structlog.get_logger()


class Line(AssociationSocket):  # type: ignore[misc]
    """The accepted socket: bounded PDUs, bounded time for each, the door's bytes first."""

    def __init__(self, assoc: Guest, conn: socket.socket, first: bytes, longest: int) -> None:
        super().__init__(assoc, client_socket=conn)
        self._first, self._longest = memoryview(first), max(longest, len(first))
        self._conn = conn
        self._patience = assoc.house.settings.intake.limits.idle
        conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        conn.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        conn.settimeout(self._patience)
        self._poll = select.poll()  # select() cannot see descriptors above 1023
        self._poll.register(conn, select.POLLIN)

    def end(self) -> None:
        """Close for good: the library's close leaves a reset socket open."""
        self.close()
        self._conn.close()

    @property
    def ready(self) -> bool:
        if self.socket is None or not self._is_connected:
            return False
        return bool(self._first) or bool(self._poll.poll(0))

    def recv(self, nr_bytes: int) -> bytearray:
        """Exactly so many bytes, or fewer if the peer hung up (pynetdicom's convention)."""
        conn = self.socket
        if nr_bytes > self._longest:
            with contextlib.suppress(OSError):
                conn.sendall(abort_pdu(INVALID))
            raise OSError("a PDU longer than announced")
        out = bytearray(self._first[:nr_bytes])
        self._first = self._first[nr_bytes:]
        until = time.monotonic() + self._patience
        while len(out) < nr_bytes:
            if time.monotonic() > until:
                raise TimeoutError("a PDU that does not end")
            piece = conn.recv(min(nr_bytes - len(out), READ))
            if not piece:
                break
            out += piece
        return out


class Provider(DULServiceProvider):  # type: ignore[misc]
    """pynetdicom's reactor; a release inside a message is an unexpected PDU."""

    def _decode_pdu(self, bytestream: bytearray) -> Any:
        pdu, event = super()._decode_pdu(bytestream)
        if event == "Evt12" and self.assoc.dimse.inside:
            return pdu, "Evt19"
        return pdu, event

    def run_reactor(self) -> None:
        try:
            super().run_reactor()
        except Exception:  # the edge of this thread; without it the association would never end
            log.exception(EventName.ASSOCIATION_ABORTED, **self.assoc.sender.fields())
            self.assoc.why = "unexpected error"
        finally:
            self.state_machine.current_state = "Sta1"  # idle: lets the other thread go
            self._kill_thread = True
            self.assoc.dimse.close()


class Dimse(DIMSEServiceProvider):  # type: ignore[misc]
    """Hands fragments to the assembler, in pynetdicom's reactor thread, one message at a time.

    While a message is being stored no further one is completed: reading stops, TCP tells the
    sender to wait, and memory stays flat however slow the disk is.
    """

    def __init__(self, assoc: Guest) -> None:
        super().__init__(assoc)
        self._assembler = Assembler(assoc, assoc.house.settings.intake.limits.instance)
        self._free = threading.Semaphore(1)
        self._closed = threading.Event()
        self._lock = threading.Lock()

    @property
    def inside(self) -> bool:
        return self._assembler.inside

    def receive_primitive(self, primitive: P_DATA) -> None:
        with self._lock:
            if self._closed.is_set():
                return
            try:
                self._feed(primitive.presentation_data_value_list)
            except ProtocolError as error:
                self._abort(str(error))
            except Exception:  # an exception here would silently end the reactor thread
                log.exception(EventName.ASSOCIATION_ABORTED, **self.assoc.sender.fields())
                self._abort("unexpected error")

    def served(self) -> None:
        """The association thread is done with the message it took."""
        self._free.release()

    def close(self) -> None:
        """The association is over: forget what is open and what was never served."""
        self._closed.set()
        with self._lock:
            self._assembler.discard()
            while True:
                try:
                    _, message = self.msg_queue.get_nowait()
                except queue.Empty:
                    return
                if message and message.sink:
                    message.sink.discard()

    def _feed(self, values: list[tuple[int, bytes]]) -> None:
        if not values:
            raise ProtocolError("a P-DATA-TF without a value")
        for context_id, fragment in values:
            if context_id not in self.assoc._accepted_cx:
                raise ProtocolError("a presentation context that was not accepted")
            if message := self._assembler.feed(context_id, fragment):
                self._hand_over(context_id, message)

    def _hand_over(self, context_id: int, message: Message) -> None:
        while not self._free.acquire(timeout=0.2):
            if self._closed.is_set() or not self.assoc.is_alive():
                if message.sink:
                    message.sink.discard()
                return
        self.msg_queue.put((context_id, message))

    def _abort(self, why: str) -> None:
        self._closed.set()
        self._assembler.discard()
        self.assoc.why = why
        self.dul.event_queue.put("Evt19")  # unrecognised or invalid PDU: A-ABORT, PS3.8 9.2


class Guest(Association):  # type: ignore[misc]
    """An association as acceptor; also the desk at which its messages open a reception."""

    def __init__(
        self, house: House, ae: AE, conn: socket.socket, caller: Caller, first: bytes,
        on_end: Callable[[Guest], None],
    ) -> None:  # fmt: skip
        super().__init__(ae, MODE_ACCEPTOR)
        self.house, self._on_end, self.why = house, on_end, ""
        self.sender = Sender(
            caller.calling, caller.called, caller.address, f"{caller.address}:{caller.port}"
        )
        self.transfer = Transfer(self.sender, house.books)
        self.name = f"AcceptorThread@{caller.address}:{caller.port}"  # the library looks for it
        self.dimse = Dimse(self)
        self.dul = Provider(self)  # replaced, so its timers are set again
        self.acse_timeout, self.network_timeout = ae.acse_timeout, ae.network_timeout
        self._line = Line(self, conn, first, house.settings.intake.limits.pdu)
        self.set_socket(self._line)
        self._describe(ae, conn, caller)
        self.bind(evt.EVT_REQUESTED, self._requested)
        self.bind(evt.EVT_ESTABLISHED, self._established)
        self.bind(evt.EVT_RELEASED, lambda _: self._on_end(self))

    def open(self, command: Command) -> Reception:
        return Reception(self.house, self.sender, self._asked(command), self._syntax(command))

    def run_reactor(self) -> None:
        try:
            super().run_reactor()
        finally:
            inside = self.dimse.inside
            self.dimse.close()
            self._line.end()
            self._on_end(self)
            self._farewell(inside)

    def _describe(self, ae: AE, conn: socket.socket, caller: Caller) -> None:
        self.acceptor.maximum_length = self.house.settings.intake.limits.pdu
        self.acceptor.ae_title = ae.ae_title
        self.acceptor.address_info = AddressInformation.from_tuple(conn.getsockname())
        self.acceptor.implementation_class_uid = ae.implementation_class_uid
        self.acceptor.implementation_version_name = ae.implementation_version_name
        self.requestor.address_info = AddressInformation(caller.address, caller.port)

    def _requested(self, _: evt.Event) -> None:
        """Support exactly what this peer proposes and admission takes."""
        wanted: dict[str, list[str]] = {}
        for context in self.requestor.primitive.presentation_context_definition_list:
            proposed = [str(syntax) for syntax in context.transfer_syntax]
            taken = admission.transfer_syntaxes(str(context.abstract_syntax), proposed)
            if taken is not None:
                wanted.setdefault(str(context.abstract_syntax), []).extend(taken)
        self.acceptor.supported_contexts = [
            # one that was not proposed: the context is answered with result 4
            build_context(abstract, list(dict.fromkeys(syntaxes)) or ["1.2.840.10008.1.2.4.66"])
            for abstract, syntaxes in wanted.items()
        ]

    def _established(self, _: evt.Event) -> None:
        log.info(EventName.ASSOCIATION_OPENED, **self.sender.fields())
        self.house.on_event(EventName.ASSOCIATION_OPENED)

    def _farewell(self, inside: bool) -> None:
        self.transfer.close()
        if self.is_aborted or self.why or inside:
            why = self.why or "aborted or lost" + (" inside a message" if inside else "")
            log.warning(EventName.ASSOCIATION_ABORTED, why=why, **self.sender.fields())
            self.house.on_event(EventName.ASSOCIATION_ABORTED)
            self.house.books.write(ledger.alert(self.sender, why, kind="association.aborted"))
        else:
            log.info(EventName.ASSOCIATION_CLOSED, **self.sender.fields())
            self.house.on_event(EventName.ASSOCIATION_CLOSED)

    def _asked(self, command: Command) -> Asked:
        context = self._accepted_cx[command.context_id]
        return Asked(
            command.sop_class, command.sop_uid, str(context.abstract_syntax), command.has_data_set
        )

    def _syntax(self, command: Command) -> str:
        return str(self._accepted_cx[command.context_id].transfer_syntax[0])

    def _serve_request(self, message: Message, _: int) -> None:
        """Answer one message; runs in the association's thread."""
        try:
            status = self._status(message)
            if status is not None:
                self._answer(message.command, status)
        finally:
            self.dul._idle_timer.restart()  # our own slowness is no silence of the peer
            self.dimse.served()

    def _status(self, message: Message) -> int | None:
        command = message.command
        if not command.is_request:
            return None  # a stray response or C-CANCEL: nothing of ours to end
        if command.kind == messages.C_ECHO:
            return admission.SUCCESS
        if command.kind != messages.C_STORE:
            return messages.UNRECOGNISED_OPERATION
        if isinstance(message.sink, Reception):
            return receive.finish(message.sink, self.transfer)
        refused = admission.admit_command(self._asked(command))
        return receive.refuse(self.house, self.sender, refused or admission.NO_DATA_SET)

    def _answer(self, command: Command, status: int) -> None:
        body = messages.answer(command, status)
        for fragment in messages.fragments(body, self.requestor.maximum_length or 0):
            primitive = P_DATA()
            primitive.presentation_data_value_list.append([command.context_id, fragment])
            self.dul.send_pdu(primitive)
