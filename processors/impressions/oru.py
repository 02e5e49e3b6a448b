"""Reads the sections of a report out of HL7 v2 messages ORU^R01.

In: the bytes of a file with one or more messages. Out: for each message its sections, or the reason
why it is not used. Which section a text is, `sections` tells by OBX-3 or the headings within the
text. Never: a preliminary result, a segment that names the patient.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from hl7apy.core import Segment
from hl7apy.exceptions import HL7apyException
from hl7apy.parser import parse_segment

from processors.impressions import sections
from processors.impressions.sections import Sections

_FINAL = ("F", "C")
_STUDY = "113014"  # DCM: the Study Instance UID
_ESCAPES = {"F": "|", "S": "^", "T": "&", "R": "~", "E": "\\"}
_BREAK = re.compile(r"\\\.br\\", re.I)
_SETS = {"8859/1": "latin-1", "8859/15": "iso8859-15", "UNICODE UTF-8": "utf-8", "ASCII": "ascii"}


@dataclass(frozen=True, slots=True)
class Final:
    """One final report. uid: of the study, else the filler's order number, else MSH-10.
    written_at: MSH-7 as it stands. language: of MSH-19, or ""."""

    uid: str
    sections: Sections
    language: str
    written_at: str


def reports(data: bytes) -> Iterator[Final | str]:
    """The report of each message of a file, or why it is not used; nothing for other files."""
    if not data.lstrip(b"\x0b\r\n ").startswith(b"MSH"):
        return
    for raw in re.split(rb"[\r\n\x0b\x1c]+(?=MSH.)", data.lstrip(b"\x0b\r\n ")):
        try:
            yield _report(raw)
        except (HL7apyException, IndexError, LookupError, UnicodeDecodeError) as error:
            yield f"no readable HL7 message: {type(error).__name__}: {error}"


def _report(raw: bytes) -> Final | str:
    lines = [line for line in re.split(r"[\r\n\x1c]+", _decoded(raw)) if line.strip()]
    head = lines[0].split(lines[0][3])
    kind = _at(head, 8).split(lines[0][4])
    if kind[:2] != ["ORU", "R01"]:
        return f"message type {_at(head, 8)!r} is no ORU^R01"
    parsed = [_segment(line, lines[0]) for line in lines if line[:3] in ("OBR", "OBX")]
    order = next((s for s in parsed if s.name == "OBR"), None)
    observations = [s for s in parsed if s.name == "OBX"]
    if order is None or not observations:
        return "no OBR or no OBX segment"
    status = order.obr_25.value or next((o.obx_11.value for o in observations), "")
    if status not in _FINAL:
        return f"result status {status or 'empty'} (OBR-25) is not final (F, C)"
    texts: list[tuple[tuple[str, ...], str]] = []
    study = ""
    for observation in observations:
        if observation.obx_3.value.startswith(_STUDY):
            study = observation.obx_5.value
        elif observation.obx_2.value in ("TX", "FT", "ST", ""):
            text = "\n".join(unescape(repeated.value) for repeated in observation.obx_5)
            texts.append((tuple(re.split(r"[\^&]", observation.obx_3.value)), text))
    uid = study or order.obr_3.value.split("^")[0] or _at(head, 9)
    return Final(uid, sections.of(texts), _at(head, 18)[:2].lower(), _at(head, 6))


def unescape(text: str) -> str:
    """The text that a field's content stands for (HL7 v2 chapter 2.7)."""
    return re.sub(r"\\([FSTRE])\\", lambda m: _ESCAPES[m[1]], text)


def _segment(line: str, head: str) -> Segment:
    names = ("COMPONENT", "REPETITION", "ESCAPE", "SUBCOMPONENT")
    marks = {"FIELD": head[3], "SEGMENT": "\r", "GROUP": "\r"}
    marks |= dict(zip(names, head[4:8], strict=True))
    line = _BREAK.sub(head[5], line)  # hl7apy takes the formatting command for a plain text
    return parse_segment(line, version="2.5.1", encoding_chars=marks)


def _decoded(raw: bytes) -> str:
    """By MSH-18; where it is empty, UTF-8 if it is that, else Latin-1."""
    fields = raw.split(b"\r")[0].split(b"\n")[0].split(raw[3:4])
    named = fields[17].decode("ascii", "replace") if len(fields) > 17 else ""
    if named in _SETS:
        return raw.decode(_SETS[named])
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _at(fields: list[str], place: int) -> str:
    return fields[place] if place < len(fields) else ""
