"""The head of a DICOM file: where its data set begins, and what the file says it is (PS3.10 7.1).

Pure. The rest of the file is the data set as a C-STORE would carry it, byte for byte. Where the
group's length is told, the elements must add up to it; where it is not, the group ends with the
first element of another one.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

PREAMBLE = 128
LONGEST = 1 << 16  # bytes up to the data set; real ones take less than 1000
_LONG = frozenset((b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR",
                   b"UT", b"UV"))  # fmt: skip
_CLASS, _INSTANCE, _SYNTAX = 0x0002, 0x0003, 0x0010


class NotAFile(Exception):
    """These bytes are no DICOM file with file meta information."""


@dataclass(frozen=True, slots=True)
class Head:
    """UIDs as they stand there, unchecked. size: bytes before the data set."""

    sop_class: str
    sop_uid: str
    transfer_syntax: str
    size: int


def read(raw: bytes | bytearray, *, whole: bool = False) -> Head | None:
    """The head, or None as long as more bytes are needed; whole: no more will come.

    Raises NotAFile.
    """
    found = _read(raw, whole)
    if found is None and (whole or len(raw) > LONGEST):
        raise NotAFile("file meta information without an end")
    return found


def _read(raw: bytes | bytearray, whole: bool) -> Head | None:
    at = PREAMBLE + 4
    if len(raw) < at + 12:
        if whole:
            raise NotAFile("no DICOM file: too short")
        return None
    if raw[PREAMBLE:at] != b"DICM":
        raise NotAFile("no DICOM file: DICM is not at byte 128")
    end, values = 0, dict[int, str]()
    while not end or at < end:
        if not end and whole and at == len(raw):
            break
        found = _element(raw, at)
        if found is None:
            return None
        group, number, value, after = found
        if group != 2:
            if end:
                raise NotAFile("file meta information does not add up to its length")
            break
        if number == 0 and len(value) == 4:
            end = after + int.from_bytes(value, "little")
        values[number] = value.decode("latin-1").rstrip("\0 ")
        at = after
    if end and at != end:
        raise NotAFile("file meta information does not add up to its length")
    if not values:
        raise NotAFile("no file meta information")
    return Head(values.get(_CLASS, ""), values.get(_INSTANCE, ""), values.get(_SYNTAX, ""), at)


def _element(raw: bytes | bytearray, at: int) -> tuple[int, int, bytes, int] | None:
    """Group, element, value and where the next one begins; of another group only the group."""
    if at + 8 > len(raw):
        return None
    group, number, vr, length = struct.unpack_from("<HH2sH", raw, at)
    if group != 2:
        return group, number, b"", at
    at += 8
    if vr in _LONG:
        if at + 4 > len(raw):
            return None
        (length,) = struct.unpack_from("<L", raw, at)
        at += 4
    if length > LONGEST:
        raise NotAFile("file meta information with an absurd length")
    if at + length > len(raw):
        return None
    return group, number, bytes(raw[at : at + length]), at + length
