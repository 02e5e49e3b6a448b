"""The data set of one C-STORE while it comes in: streamed to disk, never collected.

Up to a part of a segment it goes into the log of arrivals, beyond that, or where the log has no
room, into a file of its own. Never raises towards the wire: trouble with the disk is remembered and
the rest of the data set is read and dropped, so that the sender hears A700 and not a reset (which
it would repeat blindly). The file begins with our own file meta (PS3.10 7.1), which names the
sender so that a start after a crash still knows it; what follows are the received bytes as they
are.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

from config.settings import Settings
from dicom_node import product
from dicom_node.admission import Asked
from dicom_node.intake.ledger import Bookkeeper, Sender
from dicom_node.intake.post import Post
from dicom_node.intake.readiness import Room
from storage import Draft, Incoming, Lane, LogFull, Place, Spool, StorageError

IMPLEMENTATION_CLASS_UID = "2.25.228427174011653361205103862741632508451"
IMPLEMENTATION_VERSION = f"{product.NAME.upper()}_{product.VERSION}"[:16]
PREAMBLE = 128
PATIENCE = 5.0  # seconds that a sender waits for a log that is full


@dataclass(frozen=True, slots=True)
class House:
    """What every association of this process shares.

    on_event raises a counter by its name. swift: whether messages go the fast path.
    """

    settings: Settings
    spool: Spool
    lane: Lane
    room: Room
    post: Post
    books: Bookkeeper
    on_event: Callable[[str], None]
    swift: bool = True


class Reception:
    """A `messages.Sink`. trouble: why the instance cannot be stored now, or ""."""

    def __init__(self, house: House, sender: Sender, asked: Asked, transfer_syntax: str) -> None:
        self.house, self.sender, self.asked = house, sender, asked
        self.transfer_syntax = transfer_syntax
        self.meta = file_meta(asked, transfer_syntax, sender.calling)
        self.size = 0
        self.trouble = house.room.why_not()
        self._to: Draft | Incoming | None = None
        if not self.trouble:
            self._try(self._begin)

    def write(self, chunk: bytes | memoryview) -> None:
        self.size += len(chunk)
        if self._to is not None:
            self._try(lambda: self._write(chunk, hashed=True))

    def discard(self) -> None:
        """Forget what came, if it was not given away."""
        to, self._to = self._to, None
        if to is not None:
            to.discard()

    def reader(self) -> BinaryIO:
        """The data set, to look at. Close it. Raises StorageError."""
        if isinstance(self._to, Draft):
            file = self._to.reader()
        elif self._to is not None:
            file = self._to.open()
        else:
            raise StorageError("nothing was received")
        file.seek(len(self.meta))
        return file

    def sha256(self) -> str:
        """Of the data set, as hex."""
        return self._to.sha256() if self._to is not None else ""

    def keep(self, path: str, words: bytes) -> Place:
        """Make bytes and `words` durable; `path`: where the file is, or will be. Ends it.

        Raises StorageError.
        """
        to, self._to = self._to, None
        if isinstance(to, Draft):
            try:
                return to.seal(words)
            except LogFull:  # filled up by others meanwhile, or words longer than the room left
                to = self._as_file(to)
        if to is None:
            raise StorageError("nothing was received")
        folder, _, name = path.partition("/")
        self.house.spool.keep(to, folder, name)
        try:
            return self._append(words)
        except StorageError:
            self.house.spool.remove(path)
            raise

    def file(self) -> Incoming:
        """What came as a file of its own, for the quarantine. The caller ends it."""
        to, self._to = self._to, None
        if isinstance(to, Draft):
            return self._as_file(to)
        if to is None:
            raise StorageError("nothing was received")
        return to

    def _begin(self) -> None:
        try:
            self._to = self.house.lane.draft()
        except LogFull:
            self._to = self.house.spool.incoming()
        self._write(self.meta)

    def _write(self, chunk: bytes | memoryview, *, hashed: bool = False) -> None:
        if isinstance(self._to, Draft):
            try:
                self._to.write(chunk, hashed=hashed)
                return
            except LogFull:
                self._to = self._as_file(self._to)
        if self._to is not None:
            self._to.write(chunk, hashed=hashed)

    def _as_file(self, draft: Draft) -> Incoming:
        incoming = self.house.spool.incoming()
        try:
            incoming.take_over(draft.pieces(), draft.hashing(), draft.size - draft.skip)
        except StorageError:
            incoming.discard()
            raise
        finally:
            draft.discard()
        return incoming

    def _append(self, words: bytes) -> Place:
        """A record takes little room; when even that is not there, wait until some is filed."""
        until = time.monotonic() + PATIENCE
        while True:
            try:
                return self.house.lane.append(words)
            except LogFull:
                if time.monotonic() > until:
                    raise
                time.sleep(0.05)

    def _try(self, step: Callable[[], object]) -> None:
        try:
            step()
        except StorageError as error:
            self.trouble = self.house.room.trouble(error)
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
