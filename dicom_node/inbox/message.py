"""Reads one HL7 v2 message ORU^R01: who, which order, which sections; or why it is refused.

In: the bytes of a message without its frame. Out: a Dictation, or Refused with the code of its
acknowledgement and the error of table 0357. hl7apy says whether it is a message; the status is that
of OBR-25 (table 0123). One order a message: of several OBR the one that has texts. Never: a
repaired value, patient data in a reason.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from hl7apy.exceptions import HL7apyException, UnsupportedVersion
from hl7apy.parser import parse_message

from dicom_node.admission import is_uid
from dicom_node.inbox.charset import Undecodable, decode
from dicom_node.inbox.fields import Field, Segment, moment, person, plain, reader, segments
from processors.impressions import sections
from processors.impressions.sections import Sections
from reports.identity import valid_date
from storage import Identity, MessageKind

_PRELIMINARY, _FINAL = frozenset("PRA"), frozenset("FC")
_STUDY = frozenset({"113014", "110180"})  # DCM: DICOM Study, Study Instance UID
_TEXTS = frozenset({"TX", "FT", "ST", ""})
_WITHDRAWN = frozenset("DWX")  # table 0085: deleted, posted as wrong, not obtained
_URGENT = frozenset({"S", "A"})  # stat, as soon as possible
# what hl7apy raises beside its own errors over somebody else's bytes
_UNREADABLE = (HL7apyException, ValueError, LookupError, AttributeError, TypeError)
_LANGUAGES = {"es": "es", "spa": "es", "en": "en", "eng": "en"}


@dataclass(frozen=True, slots=True)
class Head:
    """What an acknowledgement must say of the message that it answers; ASCII, as received."""

    fields: tuple[str, ...] = ()

    def __getitem__(self, number: int) -> str:
        return self.fields[number - 1] if 0 < number <= len(self.fields) else ""

    @property
    def control_id(self) -> str:
        return self[10]


@dataclass(frozen=True, slots=True)
class Refused:
    """code: MSA-1. error: of table 0357. where: segment, or segment-field."""

    code: Literal["AE", "AR"]
    error: str
    where: str
    why: str


@dataclass(frozen=True, slots=True)
class Dictation:
    """What a message says. language: en, es or "" where it says none. procedure: OBR-4 as (value,
    meaning, scheme). reader: who signs it, by number or name; "" if nobody is named."""

    head: Head
    kind: MessageKind
    sections: Sections
    language: str
    identity: Identity
    patients: tuple[tuple[str, str], ...]
    sex: str
    placer: str
    filler: str
    procedure: tuple[str, str, str]
    urgent: bool
    reader: str

    @property
    def written(self) -> datetime | None:
        """When the sender says that it wrote the message (MSH-7), to the minute at least."""
        return moment(self.head[7])

    @property
    def sender(self) -> str:
        return f"{self.head[3]}|{self.head[4]}"[:200]


class _Refuse(Exception):
    def __init__(self, refused: Refused) -> None:
        super().__init__(refused.why)
        self.refused = refused


def head(data: bytes) -> Head:
    """The MSH of any bytes, as far as there is one. Fields count from 1: MSH-1 is the separator."""
    first = re.split(rb"[\r\n]", data[:4096], maxsplit=1)[0].decode("ascii", "replace")
    if not first.startswith("MSH|"):
        return Head()
    return Head(("|", *(one.strip() for one in first.split("|")[1:])))


def read(data: bytes, processing: str) -> Dictation | Refused:
    """One message. processing: the MSH-11 that is taken."""
    try:
        return _read(data, processing)
    except _Refuse as stop:
        return stop.refused


def _read(data: bytes, processing: str) -> Dictation:
    top = head(data)
    _of_our_kind(top, processing)
    lines = _segments(data, top)
    of = {name: [one for one in lines if one.name == name] for name in {s.name for s in lines}}
    if len(of.get("PID", ())) != 1:
        raise _no("AE", "100", "PID", "a report is of one patient: exactly one PID is needed")
    order, observed, texts = _order(lines, _charset(top))
    kind = _kind(order, observed)
    found = sections.of(texts)
    if kind is MessageKind.FINDINGS and not found.findings:
        raise _no("AE", "101", "OBX", "no findings section: no OBX-3 and no heading names one")
    if kind is MessageKind.FINAL and not (found.findings or found.impression):
        raise _no("AE", "101", "OBX", "neither a findings nor an impression section")
    pid = of["PID"][0]
    patients = _patients(pid)
    number, issuer = patients[0]
    identity = Identity(
        _study(observed, of),
        number,
        issuer,
        person(Field.of(pid, 5)),
        valid_date(Field.of(pid, 7).text[:8]),
        Field.of(order, 18).first or _first(of, "IPC", 1),
    )
    filler = Field.of(order, 3).first or _first(of, "ORC", 3)
    placer = Field.of(order, 2).first or _first(of, "ORC", 2)
    if not (identity.study_uid or identity.accession or filler or placer):
        raise _no("AE", "101", "OBR-3", "neither a study nor an order number is named")
    procedure = Field.of(order, 4).components
    return Dictation(
        top,
        kind,
        found,
        _LANGUAGES.get(top[19].split("^")[0].lower()[:3].rstrip("-_"), ""),
        identity,
        patients,
        Field.of(pid, 8).first,
        placer,
        filler,
        (procedure[0], procedure[1], procedure[2]),
        _is_urgent(order, of),
        reader(order, observed),
    )


def _no(code: Literal["AE", "AR"], error: str, where: str, why: str) -> _Refuse:
    return _Refuse(Refused(code, error, where, why))


def _of_our_kind(top: Head, processing: str) -> None:
    if not top.fields:
        raise _no("AR", "100", "MSH", "no HL7 message: it does not begin with MSH|")
    if not top[2].startswith("^~\\&"):
        raise _no("AR", "102", "MSH-2", "the separators are not ^~\\&")
    if top[9].split("^")[:2] != ["ORU", "R01"]:
        raise _no("AR", "200", "MSH-9", "only ORU^R01 is taken")
    if not top.control_id or len(top.control_id) > 199:
        raise _no("AR", "101", "MSH-10", "no control id, or one of more than 199 characters")
    if top[11].split("^")[0] != processing:
        raise _no("AR", "202", "MSH-11", f"the processing id is not {processing}")


def _segments(data: bytes, top: Head) -> list[Segment]:
    try:
        text = decode(data, _charset(top))
    except Undecodable as error:
        raise _no("AE", "103" if error.unknown else "102", "MSH-18", str(error)) from None
    text = re.sub(r"\r\n|\n", "\r", text)
    version = top[12].split("^")[0]
    try:
        parse_message(text, find_groups=False)
    except UnsupportedVersion:
        raise _no("AR", "203", "MSH-12", f"version {version[:8]} is not known here") from None
    except _UNREADABLE as error:
        why = f"the segments cannot be read ({type(error).__name__})"
        raise _no("AE", "100", "MSH", why) from None
    return list(segments(text))


def _charset(top: Head) -> str:
    return top[18].split("~")[0]


def _order(
    lines: list[Segment], charset: str
) -> tuple[Segment, list[Segment], list[tuple[tuple[str, ...], str]]]:
    """The one order with texts, its observations, and these texts with their names."""
    groups: list[tuple[Segment, list[Segment]]] = []
    for segment in lines:
        if segment.name == "OBR":
            groups.append((segment, []))
        elif segment.name == "OBX" and groups and Field.of(segment, 11).text not in _WITHDRAWN:
            groups[-1][1].append(segment)
    if not groups:
        raise _no("AE", "100", "OBR", "no OBR: the report names no order")
    try:
        telling = [
            (order, seen, texts) for order, seen in groups if (texts := list(_texts(seen, charset)))
        ]
    except Undecodable as error:
        raise _no("AE", "102", "OBX-5", f"in an escape of bytes (MSH-18): {error}") from None
    if not telling:
        _kind(*groups[0])  # a cancelled order is refused as one
        raise _no("AE", "101", "OBX", "no findings section: no observation holds a text")
    if len(telling) > 1:
        raise _no("AE", "100", "OBR", "several orders with texts: send one message for each")
    return telling[0]


def _texts(observed: list[Segment], charset: str) -> Iterator[tuple[tuple[str, ...], str]]:
    for one in observed:
        name = Field.of(one, 3)
        if Field.of(one, 2).text in _TEXTS and not _STUDY & set(name.components):
            said = "\n".join(plain(part, charset) for part in Field.of(one, 5).repetitions)
            if said.strip():
                yield tuple(part for piece in name.components for part in piece.split("&")), said


def _kind(order: Segment, observed: list[Segment]) -> MessageKind:
    status = Field.of(order, 25).text
    if not status:
        said = {Field.of(one, 11).text for one in observed} & (_PRELIMINARY | _FINAL)
        status = said.pop() if len(said) == 1 else ""
    if status in _FINAL:
        return MessageKind.FINAL
    if status in _PRELIMINARY:
        return MessageKind.FINDINGS
    raise _no("AE", "103", "OBR-25", "the result status is neither preliminary nor final")


def _patients(pid: Segment) -> tuple[tuple[str, str], ...]:
    """Every (number, issuer), the medical record number first."""
    found = []
    for each in Field.of(pid, 3).each:
        parts = each.leading
        if parts[0]:
            found.append((parts[4] != "MR", (parts[0], parts[3])))
    if not found:
        raise _no("AE", "101", "PID-3", "the patient has no number")
    return tuple(number for _, number in sorted(found, key=lambda one: one[0]))


def _study(observed: list[Segment], of: dict[str, list[Segment]]) -> str:
    said = {Field.of(one, 5).first for one in observed if _STUDY & set(Field.of(one, 3).components)}
    said |= {_first(of, "ZDS", 1), _first(of, "IPC", 3)}
    said.discard("")
    if len(said) > 1:
        raise _no("AE", "102", "OBX-5", "two different Study Instance UIDs")
    uid = next(iter(said), "")
    if uid and not is_uid(uid):
        raise _no("AE", "102", "OBX-5", "the Study Instance UID is no valid UID")
    return uid


def _first(of: dict[str, list[Segment]], name: str, number: int) -> str:
    return Field.of(of[name][0], number).first if name in of else ""


def _is_urgent(order: Segment, of: dict[str, list[Segment]]) -> bool:
    said = {Field.of(order, 5).text, Field.of(order, 27).components[5], _first(of, "TQ1", 9)}
    return bool(said & _URGENT)
