"""Storage commitment over an association that we open (pynetdicom).

`ask` is an SCU that waits a moment for the report on the same association; `tell` is an SCP that
opens one, which needs the role to be negotiated (PS3.7 D.3.3.4). Never: a database, a decision.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, build_role, evt
from pynetdicom.association import Association

from dicom_node.commitment import words
from dicom_node.commitment.words import BadWords, Report, Request
from dicom_node.destinations.streaming import answers_for_us

LINGER = 3.0  # seconds in which a report may come on the association of its request
SUCCESS, INVALID_ARGUMENT, PROCESSING_FAILURE = 0x0000, 0x0115, 0x0110


@dataclass(frozen=True, slots=True)
class Party:
    """Both ends of an association. timeout: seconds for one answer."""

    us: str
    title: str
    host: str
    port: int
    timeout: float

    def __str__(self) -> str:
        return f"{self.title} at {self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why it did not work. reached: the peer was there; refused: and said no."""

    why: str
    reached: bool
    refused: bool = False


def ask(party: Party, request: Request, on_report: Callable[[Report], bool]) -> Trouble | None:
    """Ask for commitment; None if the peer took the question. on_report: whether it is kept."""
    told = threading.Event()

    def hear(event: evt.Event) -> tuple[int, None]:
        try:
            kept = on_report(words.report_of(event.event_information))
        except BadWords:
            return INVALID_ARGUMENT, None
        except Exception:  # noqa: BLE001  an exception here would be answered by the library
            return PROCESSING_FAILURE, None
        told.set()
        return (SUCCESS if kept else PROCESSING_FAILURE), None

    with _associated(party, hear) as opened:
        if isinstance(opened, Trouble):
            return opened
        sent = words.as_request(request)
        with answers_for_us(opened):  # no longer than that: the report comes the same way
            status = _status(
                lambda: opened.send_n_action(sent, words.REQUEST, words.PUSH_MODEL, words.INSTANCE)
            )
        if status != SUCCESS:
            why = f"{party} answered the N-ACTION with {_shown(status)}"
            return Trouble(why, reached=True, refused=status is not None)
        told.wait(LINGER)
        return None


def tell(party: Party, report: Report) -> Trouble | None:
    """Report what we keep; None if the peer took it."""
    with _associated(party, None) as opened:
        if isinstance(opened, Trouble):
            return opened
        said, event = words.as_report(report), report.event_type
        with answers_for_us(opened):
            status = _status(
                lambda: opened.send_n_event_report(said, event, words.PUSH_MODEL, words.INSTANCE)
            )
        if status != SUCCESS:
            return Trouble(f"{party} answered the N-EVENT-REPORT with {_shown(status)}", True)
        return None


@contextmanager
def _associated(party: Party, hear: Any) -> Iterator[Association | Trouble]:
    """hear: answers reports, of an SCU; None: we are the SCP."""
    entity = AE(ae_title=party.us)
    entity.acse_timeout = entity.dimse_timeout = party.timeout
    entity.network_timeout = entity.connection_timeout = party.timeout
    entity.add_requested_context(words.PUSH_MODEL, [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
    handlers: list[Any] = [(evt.EVT_CONN_OPEN, _no_delay)]
    handlers += [(evt.EVT_N_EVENT_REPORT, hear)] if hear else []
    roles = [] if hear else [build_role(words.PUSH_MODEL, scp_role=True)]
    try:
        association = entity.associate(
            party.host, party.port, ae_title=party.title, evt_handlers=handlers, ext_neg=roles
        )
    except OSError as error:  # the name does not resolve
        yield Trouble(f"no connection to {party}: {error.strerror or error}", False)
        return
    try:
        if association.is_established:
            yield association
        elif association.rejected_contexts:
            yield Trouble(f"{party} takes no part in storage commitment", True, refused=True)
        elif association.is_rejected:
            yield Trouble(f"{party}, called by {party.us}, rejects the association", False)
        else:
            yield Trouble(f"no association with {party}", False)
    finally:
        if association.is_established:
            association.release()


def _no_delay(event: evt.Event) -> None:
    connection = event.assoc.dul.socket.socket
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _status(send: Callable[[], tuple[Dataset, Any]]) -> int | None:
    try:
        answer, _ = send()
    except (RuntimeError, ValueError):  # hung up, or the role was not granted
        return None
    return int(answer.Status) if "Status" in answer else None


def _shown(status: int | None) -> str:
    return "nothing" if status is None else f"0x{status:04X}"
