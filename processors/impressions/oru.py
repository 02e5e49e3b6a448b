"""Reads the sections of a report out of HL7 v2 messages ORU^R01.

In: the bytes of a file with one or more messages. Out: for each message its sections, or the reason
why it is not used. A section is known by OBX-3 (LOINC 59776-5, 18782-3 findings; 19005-8
impression; 59768-2, 18785-6 indication; the suffixes GDT and IMP of HL7 chapter 7; its name), or by
headings within the text. Never: a preliminary result, a segment that names the patient.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from hl7apy.core import Segment
from hl7apy.exceptions import HL7apyException
from hl7apy.parser import parse_segment

_CODES = {
    "59776-5": "findings",
    "18782-3": "findings",
    "GDT": "findings",
    "19005-8": "impression",
    "IMP": "impression",
    "59768-2": "indication",
    "18785-6": "indication",
}
# a heading opens the text or a line, or follows a sentence; every other heading closes a section
_HEADINGS = {
    "findings": r"findings?|hallazgos?|descripcion",
    "impression": r"impressions?|conclusions?|impresion(?: diagnostica)?|conclusion(?:es)?|juicio",
    "indication": r"indications?|clinical (?:history|information)|indicacion(?:es)?"
    r"|motivo(?: de(?: la)? (?:consulta|peticion|exploracion))?|datos clinicos",
    "": r"techniques?|comparisons?|exam(?:ination)?|procedure|tecnica|comparacion|estudio"
    r"|recommendations?|recomendacion(?:es)?",
}
_HEADING = re.compile(
    r"(?:^|(?<=\n)|(?<=[.;] ))\s*(?:"
    + "|".join(f"(?P<s{i}>{p})" for i, p in enumerate(_HEADINGS.values()))
    + r")\s*:",
    re.I,
)
_FINAL = ("F", "C")
_STUDY = "113014"  # DCM: the Study Instance UID
_ESCAPES = {"F": "|", "S": "^", "T": "&", "R": "~", "E": "\\"}
_BREAK = re.compile(r"\\\.br\\", re.I)
_SETS = {"8859/1": "latin-1", "8859/15": "iso8859-15", "UNICODE UTF-8": "utf-8", "ASCII": "ascii"}


@dataclass(frozen=True, slots=True)
class Sections:
    """One final report. uid: of the study, else the filler's order number, else MSH-10.
    written_at: MSH-7 as it stands. language: of MSH-19, or ""."""

    uid: str
    findings: str
    impression: str
    indication: str
    language: str
    written_at: str


def reports(data: bytes) -> Iterator[Sections | str]:
    """The report of each message of a file, or why it is not used; nothing for other files."""
    if not data.lstrip(b"\x0b\r\n ").startswith(b"MSH"):
        return
    for raw in re.split(rb"[\r\n\x0b\x1c]+(?=MSH.)", data.lstrip(b"\x0b\r\n ")):
        try:
            yield _report(raw)
        except (HL7apyException, IndexError, LookupError, UnicodeDecodeError) as error:
            yield f"no readable HL7 message: {type(error).__name__}: {error}"


def _report(raw: bytes) -> Sections | str:
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
    sections: dict[str, list[str]] = defaultdict(list)
    study = ""
    for observation in observations:
        if observation.obx_3.value.startswith(_STUDY):
            study = observation.obx_5.value
        elif observation.obx_2.value in ("TX", "FT", "ST", ""):
            text = "\n".join(unescape(repeated.value) for repeated in observation.obx_5)
            for name, part in split(text, _section(observation.obx_3.value)):
                sections[name].append(part)
    findings, impression, indication = (
        "\n".join(sections[name]).strip() for name in ("findings", "impression", "indication")
    )
    uid = study or order.obr_3.value.split("^")[0] or _at(head, 9)
    return Sections(uid, findings, impression, indication, _at(head, 18)[:2].lower(), _at(head, 6))


def split(text: str, section: str) -> list[tuple[str, str]]:
    """The parts of a text by its headings; what stands before the first belongs to `section`."""
    plain = "".join(unicodedata.normalize("NFD", char)[0] for char in text)
    parts, begin, current = [], 0, section
    for m in _HEADING.finditer(plain):
        parts.append((current, text[begin : m.start()]))
        current = list(_HEADINGS)[int((m.lastgroup or "s0")[1:])]
        begin = m.end()
    parts.append((current, text[begin:]))
    return [(name, part.strip()) for name, part in parts if name and part.strip()]


def unescape(text: str) -> str:
    """The text that a field's content stands for (HL7 v2 chapter 2.7)."""
    return re.sub(r"\\([FSTRE])\\", lambda m: _ESCAPES[m[1]], text)


def _section(identifier: str) -> str:
    """The section that OBX-3 names: by code, suffix, or the words of its text."""
    parts = re.split(r"[\^&]", identifier)
    for part in parts:
        if part in _CODES:
            return _CODES[part]
    for part in parts:
        plain = unicodedata.normalize("NFD", part).encode("ascii", "ignore").decode().lower()
        for name, pattern in _HEADINGS.items():
            if name and re.search(rf"\b(?:{pattern})\b", plain):
                return name
    return ""


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
