"""Segments and fields of an HL7 v2 message as plain text: repetitions, components, escapes, names.

In: a message's text. Out: text with the escapes of HL7 v2.5.1 2.7 resolved. Split here and not
taken from hl7apy, which escapes the line breaks within texts a second time; what it is asked is
whether the message is one. Never: an exception for a field that is not there; it is empty.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from dicom_node.inbox import charset
from reports import hl7_text

_LINE = re.compile(r"\\\.br\\", re.IGNORECASE)
_HEX = re.compile(r"(?:\\X(?:[0-9A-Fa-f]{2})+\\)+")  # one after the other are one row of bytes
_FORMAT = re.compile(r"\\(?:H|N|\.[a-z]{2}[+-]?\d*)\\", re.IGNORECASE)
_MOMENT = re.compile(r"(\d{8})(\d{4})(\d\d)?(?:\.\d{1,4})?([+-]\d{4})?")
_MOST = 12  # components that are looked at; what is not there is ""


@dataclass(frozen=True, slots=True)
class Segment:
    """One line of a message; `fields` count from 1 (of an MSH not: see `message.Head`)."""

    name: str
    fields: tuple[str, ...]


def segments(text: str) -> tuple[Segment, ...]:
    """The lines of a message whose segments end with CR."""
    rows = [line.split("|") for line in text.split("\r") if line.strip()]
    return tuple(Segment(row[0], tuple(row[1:])) for row in rows)


@dataclass(frozen=True, slots=True)
class Field:
    """One field, still escaped."""

    raw: tuple[str, ...]

    @staticmethod
    def of(segment: Segment, number: int) -> Field:
        said = segment.fields[number - 1] if number <= len(segment.fields) else ""
        return Field(tuple(said.split("~")) if said else ())

    @property
    def text(self) -> str:
        return self.raw[0].strip() if self.raw else ""

    @property
    def repetitions(self) -> Sequence[str]:
        return self.raw

    @property
    def each(self) -> tuple[Field, ...]:
        """Its repetitions as fields of their own."""
        return tuple(Field((one,)) for one in self.raw)

    @property
    def components(self) -> tuple[str, ...]:
        """Of the first repetition, as plain text; subcomponents stay parted by &."""
        parts = [hl7_text.unescape(part).strip() for part in self.text.split("^")]
        return tuple((parts + [""] * _MOST)[: max(_MOST, len(parts))])

    @property
    def leading(self) -> tuple[str, ...]:
        """As `components`, of each its first subcomponent: an issuer's name, a family's own."""
        parts = [hl7_text.unescape(part.split("&")[0]).strip() for part in self.text.split("^")]
        return tuple((parts + [""] * _MOST)[: max(_MOST, len(parts))])

    @property
    def first(self) -> str:
        """Component 1 of the first repetition."""
        return self.components[0]


def plain(text: str, declared: str) -> str:
    """A text as its author wrote it: line breaks are line feeds, highlighting is dropped.

    declared: MSH-18, which bytes in hexadecimal are of, too. Raises Undecodable.
    """
    lined = _LINE.sub("\n", text)
    shown = _HEX.sub(lambda m: charset.decode(_bytes(m[0]), declared), lined)
    return hl7_text.unescape(_FORMAT.sub("", re.sub("\r\n?", "\n", shown)))


def _bytes(escapes: str) -> bytes:
    return bytes.fromhex(escapes.replace("\\X", "").replace("\\", ""))


def person(field: Field) -> str:
    """A DICOM person name of XPN repetitions; without representation the first is alphabetic."""
    joined = "~".join(field.raw)
    if name := hl7_text.dicom_name(joined):
        return name
    family, given, middle, suffix, prefix = field.leading[:5]
    return "^".join((family, given, middle, prefix, suffix)).rstrip("^")


def moment(text: str) -> datetime | None:
    """A time stamp (HL7 v2.5.1 2.A.79), aware where it names its offset; None if it does not tell
    the minute: of two that tell the day alone nobody knows which came first.
    """
    fits = _MOMENT.fullmatch(text.split("^")[0].strip())
    if fits is None:
        return None
    try:
        return datetime.fromisoformat(f"{fits[1]}T{fits[2]}{fits[3] or '00'}{fits[4] or ''}")
    except ValueError:
        return None


def reader(order: Segment, observed: Sequence[Segment]) -> str:
    """Who signs: OBR-32 (principal interpreter), else OBX-16; the number, else the name."""
    parts = Field.of(order, 32).components[0].split("&")
    for each in (parts, *(Field.of(one, 16).components for one in observed)):
        if any(each):
            return (each[0] or " ".join(part for part in each[1:3] if part)).strip()[:100]
    return ""
