"""The data set of one C-STORE while it comes in: streamed to a temp file, never collected.

Never raises towards the wire: trouble with the disk is remembered and the rest of the data set is
read and dropped, so that the sender hears A700 and not a reset (which it would repeat blindly).
The file begins with our own file meta (PS3.10 7.1), which names the sender so that a start after a
crash still knows it; what follows are the received bytes as they are.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

from config.settings import Settings
from dicom_node import product
from dicom_node.admission import Asked
from dicom_node.intake.ledger import Bookkeeper, Sender
from dicom_node.intake.readiness import Readiness
from storage import Incoming, Storage, StorageError

IMPLEMENTATION_CLASS_UID = "2.25.228427174011653361205103862741632508451"
IMPLEMENTATION_VERSION = f"{product.NAME.upper()}_{product.VERSION}"[:16]
PREAMBLE = 128


@dataclass(frozen=True, slots=True)
class House:
    """What every association of this process shares. on_event raises a counter by its name."""

    settings: Settings
    storage: Storage
    readiness: Readiness
    books: Bookkeeper
    on_event: Callable[[str], None]


class Reception:
    """A `messages.Sink`. trouble: why the instance cannot be stored now, or ""."""

    def __init__(self, house: House, sender: Sender, asked: Asked, transfer_syntax: str) -> None:
        self.house, self.sender, self.asked = house, sender, asked
        self.transfer_syntax = transfer_syntax
        self.meta = file_meta(asked, transfer_syntax, sender.calling)
        self.size = 0
        self.trouble = house.readiness.room()
        self.incoming: Incoming | None = None
        if not self.trouble:
            self._try(self._begin)

    def write(self, chunk: bytes) -> None:
        self.size += len(chunk)
        incoming = self.incoming
        if incoming is not None:
            self._try(lambda: incoming.write(chunk, hashed=True))

    def discard(self) -> None:
        """Remove the temp file, if it was not given away."""
        incoming, self.incoming = self.incoming, None
        if incoming is not None:
            incoming.discard()

    def _begin(self) -> None:
        self.incoming = self.house.storage.spool.incoming()
        self.incoming.write(self.meta)

    def _try(self, step: Callable[[], object]) -> None:
        try:
            step()
        except StorageError as error:
            self.trouble = self.house.readiness.trouble(error)
            self.discard()


def file_meta(asked: Asked, transfer_syntax: str, calling: str) -> bytes:
    """Preamble, prefix and file meta information, explicit VR little endian."""

    def element(number: int, vr: bytes, text: str, pad: bytes) -> bytes:
        value = text.encode("latin-1", "replace")[:64]
        value += pad * (len(value) % 2)
        return struct.pack("<HH2sH", 2, number, vr, len(value)) + value

    meta = b"".join(
        (
            struct.pack("<HH2sxxL2s", 2, 0x01, b"OB", 2, b"\0\1"),
            element(0x02, b"UI", asked.sop_class, b"\0"),
            element(0x03, b"UI", asked.sop_uid, b"\0"),
            element(0x10, b"UI", transfer_syntax, b"\0"),
            element(0x12, b"UI", IMPLEMENTATION_CLASS_UID, b"\0"),
            element(0x13, b"SH", IMPLEMENTATION_VERSION, b" "),
            element(0x16, b"AE", calling[:16], b" "),
        )
    )
    length = struct.pack("<HH2sHL", 2, 0, b"UL", 4, len(meta))
    return bytes(PREAMBLE) + b"DICM" + length + meta


def data_set_offset(head: bytes) -> int:
    """Where the data set begins in a file of ours; 0 if the file is not ours or cut short."""
    at = PREAMBLE + 4
    if len(head) < at + 12 or head[PREAMBLE:at] != b"DICM":
        return 0
    group, element, vr, size, length = struct.unpack_from("<HH2sHL", head, at)
    if (group, element, vr, size) != (2, 0, b"UL", 4):
        return 0
    return int(at + 12 + length)
