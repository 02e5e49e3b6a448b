"""One association inside pynetdicom 3: its negotiation and state machine, our messages.

pynetdicom keeps PS3.8 (negotiation, release, abort, timers); what it leaves open is set here and in
`line` and `provider`: PDU length, time for one PDU, TCP_NODELAY, fragments, back-pressure. DIMSE is
ours (`messages`), so that a data set is streamed and every C-STORE gets its answer, whatever its
UIDs look like. The private names of pynetdicom that these files touch stand in `contract`.
"""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Callable

import structlog
from pynetdicom import AE, build_context, evt
from pynetdicom._globals import MODE_ACCEPTOR
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import P_DATA
from pynetdicom.transport import AddressInformation

from dicom_node import admission, commitment
from dicom_node.admission import Asked
from dicom_node.intake import ledger, messages, receive
from dicom_node.intake.door import Caller
from dicom_node.intake.events import EventName
from dicom_node.intake.ledger import Sender
from dicom_node.intake.line import Line
from dicom_node.intake.messages import Command, Message
from dicom_node.intake.post import Ended
from dicom_node.intake.provider import Dimse, Provider, Swift
from dicom_node.intake.reception import House, Reception

log = structlog.get_logger()


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
        self._postponed: Counter[str] = Counter()
        self.name = f"AcceptorThread@{caller.address}:{caller.port}"  # the library looks for it
        self.dimse = Dimse(self)
        self.dul = (Swift if house.swift else Provider)(
            self
        )  # replaced, so its timers are set again
        self.acse_timeout, self.network_timeout = ae.acse_timeout, ae.network_timeout
        limits = house.settings.intake.limits
        self._line = Line(self, conn, first, limits.pdu, limits.idle)
        self.set_socket(self._line)
        self._describe(ae, conn, caller)
        self.bind(evt.EVT_REQUESTED, self._requested)
        self.bind(evt.EVT_ESTABLISHED, self._established)
        self.bind(evt.EVT_RELEASED, lambda _: self._on_end(self))

    def open(self, command: Command) -> Reception | commitment.Paper:
        if command.kind != messages.C_STORE:
            return commitment.Paper()
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
        for context in self.acceptor.supported_contexts:
            if context.abstract_syntax == admission.COMMITMENT:  # who reports to us is its SCP
                context.scu_role = context.scp_role = True

    def _established(self, _: evt.Event) -> None:
        log.info(EventName.ASSOCIATION_OPENED, **self.sender.fields())
        self.house.on_event(EventName.ASSOCIATION_OPENED)

    def _farewell(self, inside: bool) -> None:
        broken = self.is_aborted or self.why or inside
        self.house.post.tell(Ended(self.sender, dict(self._postponed), not broken))
        if broken:
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

    def served(self, message: Message) -> bytes:
        """Serve a message and return the PDUs of its answer; the fast path, in its own thread."""
        status = self._status(message)
        if status is None:
            return b""
        command, room = message.command, self.requestor.maximum_length or 0
        body = messages.answer(command, status)
        return b"".join(
            messages.p_data(command.context_id, fragment)
            for fragment in messages.fragments(body, room)
        )

    def _status(self, message: Message) -> int | None:
        command = message.command
        if not command.is_request:
            return None  # a stray response or C-CANCEL: nothing of ours to end
        if command.kind == messages.C_ECHO:
            return admission.SUCCESS
        if isinstance(message.sink, commitment.Paper):
            return self._commitment(command, message.sink)
        if command.kind != messages.C_STORE:
            return messages.UNRECOGNISED_OPERATION
        if isinstance(message.sink, Reception):
            return receive.finish(message.sink, self._postponed)
        refused = admission.admit_command(self._asked(command))
        return receive.refuse(self.house, self.sender, refused or admission.NO_DATA_SET)

    def _commitment(self, command: Command, paper: commitment.Paper) -> int:
        """Storage commitment is asked for or reported; nothing else comes this way."""
        if self._asked(command).abstract_syntax != admission.COMMITMENT:
            return messages.UNRECOGNISED_OPERATION
        house, who = self.house, (self.sender.calling, self.sender.address)
        status, why = commitment.hear(
            paper, command.kind, command.sop_uid, self._syntax(command), who, house.spool,
            house.settings.intake.accept_from,
        )  # fmt: skip
        if why:
            receive.refuse(house, self.sender, admission.Refused(status, why))
        return status

    def _answer(self, command: Command, status: int) -> None:
        body = messages.answer(command, status)
        for fragment in messages.fragments(body, self.requestor.maximum_length or 0):
            primitive = P_DATA()
            primitive.presentation_data_value_list.append([command.context_id, fragment])
            self.dul.send_pdu(primitive)
