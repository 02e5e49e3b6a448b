"""Reads from a data set's short elements what routing, identity and admission need.

In: the small data set that `walk` kept. Out: plain JSON by DICOM keyword, and the identity of the
study as text. Never: pixel data, values of sequences (but for the loop guard), an exception for a
bad value: a value that cannot be read is left out. PS3.5 6.2 (value representations).
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterable, Mapping
from functools import cache
from io import BytesIO
from typing import Any

from pydicom.charset import convert_encodings
from pydicom.datadict import keyword_for_tag
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException
from pydicom.filereader import read_dataset
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag
from pydicom.valuerep import PersonName

from dicom_node import product
from dicom_node.admission import Contained
from dicom_node.intake.walk import (
    LONG_HEADERS,
    SHORT_HEADERS,
    SOP_CLASS,
    SOP_INSTANCE,
    STUDY,
    UIDS,
    Walked,
)
from storage.records import Identity

JSON = str | int | float | list["JSON"]

LONGEST_TEXT = 256
MOST_VALUES = 64
PROCESSING_EQUIPMENT = "109102"  # DCM, purpose of reference of a contributing equipment
_BINARY = frozenset(("OB", "OD", "OF", "OL", "OV", "OW", "UN", "SQ", "AT"))
_INTEGERS = frozenset(("IS", "US", "SS", "UL", "SL", "SV", "UV"))
_CHARACTER_SET = 0x00080005
_ASCII_BELOW_128 = frozenset(
    (b"", b"ISO_IR 6", b"ISO_IR 192", *(b"ISO_IR %d" % n for n in (100, 101, 109, 110, 144, 148)))
)
_TEXTS = frozenset(("AE", "AS", "CS", "DA", "LO", "PN", "SH", "TM", "UI"))
_PRINTABLE = re.compile(rb"[ -\[\]-~]*\0?")  # no backslash: one value
_PRINTABLES = re.compile(rb"[ -~]*\0?")
_INTEGER = re.compile(rb" *[+-]?[0-9]{1,9} *")
_DECIMAL = re.compile(rb" *[+-]?[0-9]{1,9}(\.[0-9]{1,9})? *")
_IDENTITY = {
    0x00080016: "SOPClassUID",
    0x00080018: "SOPInstanceUID",
    0x0020000D: "StudyInstanceUID",
    0x0020000E: "SeriesInstanceUID",
    0x00100010: "PatientName",
    0x00100020: "PatientID",
    0x00100030: "PatientBirthDate",
}
_ELEMENT, _LENGTH = struct.Struct("<HH2sH"), struct.Struct("<L")
# What a parser of somebody else's bytes may raise; pydicom has no base error of its own.
_UNREADABLE = (
    ValueError, TypeError, LookupError, ArithmeticError, AttributeError, RecursionError,
    NotImplementedError, EOFError, OSError, Warning, BytesLengthException,
)  # fmt: skip


def dataset(walked: Walked) -> Dataset | None:
    """The kept elements as a data set, or None if they cannot be parsed."""
    encoding = walked.encoding
    if (everyday := _everyday(walked)) is not None:
        return everyday
    try:
        return read_dataset(BytesIO(bytes(walked.head)), encoding.implicit, encoding.little)
    except _UNREADABLE:
        return None


def _everyday(walked: Walked) -> Dataset | None:
    """What `read_dataset` makes of explicit VR little endian without sequences; None: ask it."""
    if walked.encoding.implicit or not walked.encoding.little:
        return None
    found: dict[BaseTag, DataElement | RawDataElement] = {}
    head, at = bytes(walked.head), 0
    while at + 8 <= len(head):
        group, element, code, length = _ELEMENT.unpack_from(head, at)
        header, vr = 8, code.decode("latin-1")
        if code in LONG_HEADERS and vr != "SQ" and at + 12 <= len(head):
            header, (length,) = 12, _LENGTH.unpack_from(head, at + 8)
        elif code not in SHORT_HEADERS:
            return None
        start, tag = at + header, BaseTag(group << 16 | element)
        at = start + length
        value = head[start:at] if length or vr in _TEXTS else None
        found[tag] = RawDataElement(tag, vr, length, value, start, False, True)
    declared = found.get(BaseTag(_CHARACTER_SET))
    named = (declared.value or b"").strip(b" \0") if declared else b""
    if at != len(head) or named not in _ASCII_BELOW_128:
        return None
    made = Dataset(found)
    made.set_original_encoding(False, True, _encodings(named))
    return made


@cache
def _encodings(declared: bytes) -> list[str]:
    return convert_encodings(declared.decode("ascii"))


@cache
def _keyword(tag: int) -> str:
    return keyword_for_tag(tag)


def of(source: Dataset, *, has_pixels: bool | None = None) -> dict[str, JSON]:
    """Top-level keywords with short non-binary values, as `NewInstance.headers` holds them.

    Beside them: "HasPixelData", and "ContributingEquipment" (the manufacturers) for the loop guard.
    """
    found: dict[str, JSON] = {}
    plain = _plainly_encoded(source)
    for tag, raw in list(source.items()):  # values are decoded one by one, below
        keyword = _keyword(int(tag))
        if not keyword:
            continue
        value = _at_once(raw) if plain else None
        if value is None:
            value = _decoded(source, tag)
        if value is not None and value != "":
            found[keyword] = value
    if has_pixels is None:
        has_pixels = any(name in source for name in ("PixelData", "FloatPixelData"))
    found["HasPixelData"] = has_pixels
    if makers := [maker for maker, _ in contributors(source)]:
        found["ContributingEquipment"] = list(dict.fromkeys(makers))
    return found


def _decoded(source: Dataset, tag: BaseTag) -> JSON | None:
    """One value as pydicom reads it; None if it cannot, or is binary, long or empty."""
    try:
        element = source[tag]
        return None if element.VR in _BINARY else _json(element.value, element.VR)
    except _UNREADABLE:
        return None


def _plainly_encoded(source: Dataset) -> bool:
    """Whether ASCII bytes mean what they say in this data set."""
    try:
        declared: Any = source.get_item(_CHARACTER_SET)
        if not isinstance(declared, RawDataElement):
            return declared is None
        return (declared.value or b"").strip(b" \0") in _ASCII_BELOW_128
    except _UNREADABLE:
        return False


def _at_once(raw: Any) -> JSON | None:
    """The value of an everyday element without pydicom's machinery; None: take the long way.

    One value, printable ASCII or a short binary integer, of an explicit VR: as `_decoded` gives it.
    Most elements are of this kind, and every instance has dozens. An empty text is "".
    """
    if not isinstance(raw, RawDataElement) or raw.value is None:
        return None
    value, vr = raw.value, raw.VR
    if vr in _TEXTS:
        if len(value) > LONGEST_TEXT:
            return None
        if not _PRINTABLE.fullmatch(value):
            return _list_at_once(value, vr)
        if vr == "PN" and b"=" in value:  # groups of components
            return None
        return str(value.decode("ascii")).strip(" \0")
    if vr == "IS":
        return int(value) if _INTEGER.fullmatch(value) else None
    if vr == "DS":
        if _DECIMAL.fullmatch(value):
            return float(value)
        parts = value.split(b"\\")
        if len(parts) > MOST_VALUES or not all(_DECIMAL.fullmatch(part) for part in parts):
            return None
        return [float(part) for part in parts]
    if vr == "US" and len(value) == 2:
        return int.from_bytes(value, "little" if raw.is_little_endian else "big")
    return None


def _list_at_once(value: bytes, vr: str) -> JSON | None:
    """The values of an everyday text of several."""
    if vr == "PN" or not _PRINTABLES.fullmatch(value):
        return None
    parts = value.decode("ascii").rstrip(" \0").split("\\")
    return [part.strip(" \0") for part in parts] if len(parts) <= MOST_VALUES else None


def contributors(source: Dataset) -> tuple[tuple[str, str], ...]:
    """(manufacturer, code of the purpose) of each contributing equipment (PS3.3 C.12.1)."""
    found = []
    try:
        for item in source.get("ContributingEquipmentSequence") or ():
            purposes = item.get("PurposeOfReferenceCodeSequence") or ()
            code = str(purposes[0].get("CodeValue", "")) if purposes else ""
            found.append((str(item.get("Manufacturer", "")).strip()[:LONGEST_TEXT], code.strip()))
    except _UNREADABLE:
        return tuple(found)
    return tuple(found)


def made_by_us(source: Dataset) -> bool:
    """A result of this product, whichever node made it; never decided by the root of a UID."""
    return (product.MANUFACTURER, PROCESSING_EQUIPMENT) in contributors(source)


def identity(source: Dataset) -> Identity:
    """Who and what the study is. Bytes that do not decode stay as replacement characters."""
    return Identity(
        study_uid=text(source, "StudyInstanceUID"),
        patient_id=text(source, "PatientID"),
        issuer=text(source, "IssuerOfPatientID"),
        patient_name=text(source, "PatientName"),
        birth_date=text(source, "PatientBirthDate"),
        accession=text(source, "AccessionNumber"),
    )


def contained(walked: Walked, source: Dataset | None, size: int) -> Contained:
    """What admission wants to know of a data set. source: `dataset(walked)`."""
    if walked.fault or source is None:
        return Contained(size=size, fault=walked.fault or "the elements cannot be read")
    found = {tag: text(source, _IDENTITY[tag]) for tag in (SOP_CLASS, SOP_INSTANCE, STUDY)}
    return contained_shortly(walked, found, size)


def contained_shortly(walked: Walked, found: Mapping[int, str], size: int) -> Contained:
    """The same of `uids`."""
    return Contained(
        sop_class=found[SOP_CLASS],
        sop_uid=found[SOP_INSTANCE],
        study_uid=found[STUDY],
        size=size,
        repeated=tuple(name for tag, name in _IDENTITY.items() if tag in walked.repeated),
    )


def uids(walked: Walked) -> dict[int, str] | None:
    """The UIDs that an instance is filed by, by tag; None: they need the long way."""
    if not walked.whole or walked.fault or walked.uids.keys() != UIDS:
        return None
    if not all(_PRINTABLE.fullmatch(value) for value in walked.uids.values()):
        return None
    return {tag: value.decode("ascii").strip(" \0") for tag, value in walked.uids.items()}


def text(source: Dataset, keyword: str) -> str:
    """One attribute as text without padding; several values joined as they were sent."""
    try:
        raw: Any = source.get_item(keyword)
        if raw is None:
            return ""
        if isinstance(raw, RawDataElement) and (raw.VR == "UI" or _plainly_encoded(source)):
            said = _at_once(raw)
            if isinstance(said, str):
                return said
        value = source.get(keyword)
    except _UNREADABLE:
        return ""
    if value is None:
        return ""
    if isinstance(value, MultiValue):
        value = "\\".join(str(part) for part in value)
    return str(value).strip(" \0")[:1024]


def _json(value: Any, vr: str) -> JSON | None:
    if isinstance(value, MultiValue | list | tuple):
        parts = [_json(part, vr) for part in _first(value)]
        return [("" if part is None else part) for part in parts]
    if value is None or value == "":
        return None
    if isinstance(value, str | PersonName):
        shown = str(value).strip(" \0")
        return shown if 0 < len(shown) <= LONGEST_TEXT else None
    number = int(value) if vr in _INTEGERS else float(value)
    return number if math.isfinite(number) else None


def _first(values: Iterable[Any]) -> list[Any]:
    return list(values)[:MOST_VALUES]
