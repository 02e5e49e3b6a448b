"""Writes the acknowledgement of a message (HL7 v2.5.1 2.9.2): MSH, MSA and, if not AA, ERR.

In: the head of what is answered, and a verdict. Out: bytes in an MLLP frame, ASCII throughout. AA
says that the message is durable and planned. Never: a word of the message but its control id and
the names of sender and receiver, which change places.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from dicom_node.inbox.message import Head, Refused
from reports import hl7_text

_NAMES = {
    "100": "Segment sequence error",
    "101": "Required field missing",
    "102": "Data type error",
    "103": "Table value not found",
    "200": "Unsupported message type",
    "202": "Unsupported processing id",
    "203": "Unsupported version id",
    "207": "Application internal error",
}
_VERSIONS = ("2.1", "2.2", "2.3", "2.3.1", "2.4", "2.5", "2.5.1", "2.6", "2.7", "2.8", "2.8.2")
LATER = Refused("AE", "207", "MSH", "it cannot be stored now; send it again later")
BROKEN = Refused("AE", "207", "MSH", "internal error; its bytes are kept for a person")
TOO_LONG = Refused("AR", "102", "MSH", "the message is longer than this node takes")
STRANGER = Refused("AR", "207", "MSH", "your address is not in intake.mllp.accept_from")


@dataclass(frozen=True, slots=True)
class Answer:
    """AA without `refused`; else the code that it says."""

    head: Head
    refused: Refused | None = None

    @property
    def code(self) -> Literal["AA", "AE", "AR"]:
        return self.refused.code if self.refused else "AA"


def framed(answer: Answer, at: datetime) -> bytes:
    """The acknowledgement as it goes over the wire."""
    head, refused = answer.head, answer.refused
    version = head[12].split("^")[0]
    msh = (
        "MSH", "^~\\&", _own(head[5]), _own(head[6]), _own(head[3]), _own(head[4]),
        f"{at:%Y%m%d%H%M%S%z}", "", "ACK^R01^ACK", uuid.uuid4().hex[:20].upper(),
        _own(head[11]) or "P", version if version in _VERSIONS else "2.5.1",
        "", "", "", "", "", "ASCII",
    )  # fmt: skip
    words = hl7_text.escape(f"{refused.where}: {refused.why}") if refused else ""
    msa = ["MSA", answer.code, _own(head.control_id)[:199], *([words] if words else [])]
    lines = ["|".join(msh), "|".join(msa)]
    if refused:
        segment, _, field = refused.where.partition("-")
        place = f"{segment}^1^{field}" if field else f"{segment}^1"
        error = f"{refused.error}^{_NAMES[refused.error]}^HL70357"
        lines.append(f"ERR||{place}|{error}|E||||{words}")
    text = "".join(f"{line}\r" for line in lines)
    return b"\x0b" + text.encode("ascii", "replace") + b"\x1c\r"


def _own(field: str) -> str:
    """A field of theirs as it may stand in ours: printable ASCII, separators as they were."""
    return "".join(char for char in field if " " <= char <= "~" and char != "|")[:227]
