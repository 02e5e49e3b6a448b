"""What the door does with an N-ACTION or N-EVENT-REPORT of storage commitment (PS3.4 J.3).

Reads it, puts it into the box and only then answers success; the report follows on an association
of its own, which PS3.4 J.3.3 leaves to us. Who could not be told a report is not promised one.
"""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from config.settings import Peer
from dicom_node import ports
from dicom_node.commitment import box, words
from dicom_node.commitment.events import EventName
from dicom_node.commitment.words import BadWords
from storage import Spool, StorageError

N_EVENT_REPORT, N_ACTION = 0x0100, 0x0130
LONGEST = 1 << 22  # bytes of such a data set
SUCCESS, PROCESSING_FAILURE, NO_SUCH_INSTANCE = 0x0000, 0x0110, 0x0112
INVALID_ARGUMENT, NOT_AUTHORISED, RESOURCE_LIMITATION = 0x0115, 0x0124, 0x0213
NO_PORT = "accept_from has no port for it, so no report could reach it"

log = structlog.get_logger()


class Paper:
    """A `messages.Sink` for a short data set."""

    def __init__(self) -> None:
        self.raw, self.too_long = bytearray(), False

    def write(self, chunk: bytes | memoryview) -> None:
        if len(self.raw) + len(chunk) > LONGEST:
            self.too_long = True
            self.raw.clear()
        elif not self.too_long:
            self.raw += chunk

    def discard(self) -> None:
        self.raw.clear()


def hear(
    paper: Paper, kind: int, sop_uid: str, transfer_syntax: str, who: tuple[str, str],
    spool: Spool, accept_from: Sequence[Peer] | str,
) -> tuple[int, str]:  # fmt: skip
    """The status to answer, and why if it is none of success. who: calling AE title, address."""
    if paper.too_long:
        return RESOURCE_LIMITATION, "a storage commitment longer than we take"
    if sop_uid != words.INSTANCE:
        return NO_SUCH_INSTANCE, "not the well-known instance of storage commitment"
    if kind == N_ACTION and address_of(*who, accept_from) is None:
        return NOT_AUTHORISED, NO_PORT
    try:
        source = words.decoded(bytes(paper.raw), transfer_syntax)
        said = words.request_of(source) if kind == N_ACTION else words.report_of(source)
        box.put(spool, *who, said)
    except BadWords as error:
        return INVALID_ARGUMENT, f"storage commitment: {error}"
    except StorageError as error:
        return PROCESSING_FAILURE, f"storage commitment: {type(error).__name__}"
    if kind == N_ACTION:
        log.info(EventName.REQUESTED, calling=who[0], address=who[1])
    return SUCCESS, ""


def address_of(
    calling: str, address: str, accept_from: Sequence[Peer] | str
) -> tuple[str, int] | None:
    """Where that peer hears reports, or None. address: whence it asked, which tells peers of one
    title apart.
    """
    peers = () if isinstance(accept_from, str) else accept_from
    named = [
        (peer.host, peer.port)
        for peer in peers
        if peer.ae_title == calling and peer.host and peer.port
    ]
    if len(named) > 1:
        named = [one for one in named if _is_at(one[0], address)]
    return next(iter(named), None)


def _is_at(host: str, address: str) -> bool:
    try:
        return address in ports.addresses(host)
    except OSError:
        return False
