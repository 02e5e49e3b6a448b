"""What a record of the log says of an instance: all that its row and its file are made of.

In: a received data set after one walk over it. Out: bytes for the log, and the same back again. The
short elements travel as they were received, so that their values are decoded behind the answer.
Never: a file, a database, a decoded value.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import BinaryIO

from dicom_node.admission import Asked, Refused, admit_instance, odd_uid
from dicom_node.intake import headers
from dicom_node.intake.ledger import Sender
from dicom_node.intake.walk import SERIES, Encoding, Walked, walk
from storage.records import Identity, NewInstance

_END = b"\n"


@dataclass(frozen=True, slots=True)
class Arrival:
    """One admitted instance. path: of its file in the spool. head: its short elements."""

    asked: Asked
    transfer_syntax: str
    sender: Sender
    sha256: str
    size: int
    path: str
    received_at: datetime
    note: str
    has_pixels: bool
    head: bytes

    def pack(self) -> bytes:
        """As a record's words: one line of JSON, then the head."""
        words = {
            "asked": _fields(self.asked),
            "transfer_syntax": self.transfer_syntax,
            "sender": _fields(self.sender),
            "sha256": self.sha256,
            "size": self.size,
            "path": self.path,
            "received_at": self.received_at.isoformat(),
            "note": self.note,
            "has_pixels": self.has_pixels,
        }
        line = json.dumps(words, separators=(",", ":")).encode()
        return b"".join((line, _END, self.head))

    @classmethod
    def unpack(cls, words: bytes) -> Arrival:
        """Raises ValueError, TypeError or KeyError for words that `pack` did not make."""
        line, _, head = words.partition(_END)
        said = json.loads(line)
        said["asked"], said["sender"] = Asked(**said["asked"]), Sender(**said["sender"])
        said["received_at"] = datetime.fromisoformat(said["received_at"])
        return cls(**said, head=head)


def _fields(one: Asked | Sender) -> dict[str, object]:
    return {name: getattr(one, name) for name in one.__slots__}  # asdict copies deeply


@dataclass(frozen=True, slots=True)
class Look:
    """What one walk over a data set found. refused: why it may not come in, or None."""

    walked: Walked
    study_uid: str
    note: str
    refused: Refused | None


@dataclass(frozen=True, slots=True)
class Content:
    """What an instance says of itself. ours: a result of this product."""

    identity: Identity
    headers: dict[str, headers.JSON]
    series_uid: str
    ours: bool


def look(file: BinaryIO, size: int, asked: Asked, transfer_syntax: str) -> Look:
    """Look at the data set that begins at the file's position: may it come in?"""
    walked = walk(file, size, transfer_syntax)
    if (short := headers.uids(walked)) is not None:
        contained = headers.contained_shortly(walked, short, size)
        series_uid = short[SERIES]
    else:
        source = headers.dataset(walked)
        contained = headers.contained(walked, source, size)
        if source is None:
            return Look(walked, "", "", admit_instance(asked, contained))
        series_uid = headers.text(source, "SeriesInstanceUID")
    refused = admit_instance(asked, contained)
    if not series_uid:
        walked.note("no Series Instance UID")
    if any(odd_uid(uid) for uid in (asked.sop_uid, contained.study_uid, series_uid)):
        walked.note("a UID component begins with a zero")
    return Look(walked, contained.study_uid, "; ".join(walked.notes), refused)


def arrival(
    found: Look,
    asked: Asked,
    transfer_syntax: str,
    sender: Sender,
    sha256: str,
    size: int,
    path: str,
) -> Arrival:
    """The record of an admitted instance that came just now."""
    return Arrival(
        asked, transfer_syntax, sender, sha256, size, path, datetime.now(UTC), found.note,
        found.walked.has_pixels, bytes(found.walked.head),
    )  # fmt: skip


def content(one: Arrival) -> Content:
    """Decode what routing, identity and the loop guard need."""
    walked = Walked(Encoding.of(one.transfer_syntax), head=bytearray(one.head))
    source = headers.dataset(walked)
    if source is None:  # it could be read when it came in
        return Content(Identity(""), {}, "", ours=False)
    return Content(
        headers.identity(source), headers.of(source, has_pixels=one.has_pixels),
        headers.text(source, "SeriesInstanceUID")[:64], headers.made_by_us(source),
    )  # fmt: skip


def new_instance(one: Arrival, said: Content) -> NewInstance:
    """Its row."""
    return NewInstance(
        sop_uid=one.asked.sop_uid, sop_class=one.asked.sop_class,
        transfer_syntax=one.transfer_syntax, series_uid=said.series_uid, identity=said.identity,
        sha256=one.sha256, size=one.size, path=one.path, calling_ae=one.sender.calling,
        called_ae=one.sender.called, address=one.sender.address, headers=said.headers,
        received_at=one.received_at, note=one.note,
    )  # fmt: skip
