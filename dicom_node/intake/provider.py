"""pynetdicom's reactor and DIMSE provider of one association, bent to our messages.

`Provider` is the stock way: pynetdicom reads and decodes every PDU, another thread serves. `Swift`
is the fast path inside it: while an association stands (Sta6) its P-DATA-TF are read from the
line's buffer, served and answered in this one thread, and the library's other thread sleeps; any
other PDU is the library's. Both assemble with `messages` and end in the same `serve`, so they pass
the same tests. The private names that this touches are listed in `contract`.
"""

from __future__ import annotations

import queue
import struct
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import structlog
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dul import DULServiceProvider
from pynetdicom.fsm import InvalidEventError
from pynetdicom.pdu_primitives import P_DATA

from dicom_node.intake.door import UNEXPECTED, abort_pdu
from dicom_node.intake.events import EventName
from dicom_node.intake.messages import Assembler, Message, ProtocolError

P_DATA_TF = 4
PAUSE = 0.5  # seconds between two looks at timers and orders while nothing comes
_VALUE = struct.Struct(">LB")

log = structlog.get_logger()


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
        except InvalidEventError:  # a PDU for which the library's state machine has no answer
            self.assoc.why = "a PDU that may not come now"
            with suppress(OSError):
                self.socket.put(abort_pdu(UNEXPECTED))
        except Exception:  # the edge of this thread; without it the association would never end
            log.exception(EventName.ASSOCIATION_ABORTED, **self.assoc.sender.fields())
            self.assoc.why = "unexpected error"
        finally:
            self.state_machine.current_state = "Sta1"  # idle: lets the other thread go
            self._kill_thread = True
            self.assoc.dimse.close()


class Swift(Provider):
    """The fast path."""

    def _is_transport_event(self) -> bool:
        if self.state_machine.current_state != "Sta6" or self.idle_timer_expired():
            return bool(super()._is_transport_event())
        self.assoc._reactor_checkpoint.clear()  # the association's thread need not poll
        try:
            return self._messages()
        except ProtocolError as error:
            self.assoc.dimse.abort(str(error))
        except OSError:
            self.event_queue.put("Evt17")  # transport connection closed
        finally:
            self.assoc._reactor_checkpoint.set()
        return True

    def _messages(self) -> bool:
        """Serve messages as long as they come; as `_is_transport_event`, what the library asks."""
        line = self.socket
        while not self._kill_thread and self.event_queue.empty():
            if not self.to_provider_queue.empty() or self.idle_timer_expired():
                return False
            if not line.wait(PAUSE):
                continue
            if (
                line.peek() != P_DATA_TF
            ):  # never look again: what came since must not go the slow way
                return bool(super()._is_transport_event())
            for _, message in self.assoc.dimse.take(line.pdu()):
                line.put(self.assoc.served(message))
            self._idle_timer.restart()
        return False


class Dimse(DIMSEServiceProvider):  # type: ignore[misc]
    """Hands fragments to the assembler, in pynetdicom's reactor thread, one message at a time.

    While a message is being stored no further one is completed: reading stops, TCP tells the
    sender to wait, and memory stays flat however slow the disk is.
    """

    def __init__(self, assoc: Any) -> None:
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
                self.abort(str(error))
            except Exception:  # an exception here would silently end the reactor thread
                log.exception(EventName.ASSOCIATION_ABORTED, **self.assoc.sender.fields())
                self.abort("unexpected error")

    def take(self, pdu: memoryview) -> Iterator[tuple[int, Message]]:
        """Messages that the values of one P-DATA-TF complete, to be served before the next one.

        Raises ProtocolError. The fast path's way in.
        """
        with self._lock:
            at = 0
            while at < len(pdu) or not at:
                if at + 5 > len(pdu):
                    raise ProtocolError("a P-DATA-TF without a value")
                length, context_id = _VALUE.unpack_from(pdu, at)
                end = at + 4 + length
                if length < 2 or end > len(pdu):
                    raise ProtocolError("a value longer than its P-DATA-TF")
                if context_id not in self.assoc._accepted_cx:
                    raise ProtocolError("a presentation context that was not accepted")
                message = self._assembler.feed(context_id, pdu[at + 5 : end])
                at = end
                if message:
                    yield context_id, message

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

    def abort(self, why: str) -> None:
        self._closed.set()
        self._assembler.discard()
        self.assoc.why = why
        self.dul.event_queue.put("Evt19")  # unrecognised or invalid PDU: A-ABORT, PS3.8 9.2
