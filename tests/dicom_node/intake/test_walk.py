"""The walk over a data set: what it takes for one, what it keeps, what it never does."""

from __future__ import annotations

import io
import os
import struct
import zlib

import pytest
from intake_lab import data_set, encoded
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)
from pynetdicom.dsutils import encode

from dicom_node.intake import headers, walk
from dicom_node.intake.walk import Walked


def look(raw: bytes, syntax: str = ExplicitVRLittleEndian) -> Walked:
    return walk.walk(io.BytesIO(raw), len(raw), syntax)


def nested(depth: int, *, closed: bool = True) -> bytes:
    item = b"\x20\0\x12\x92SQ\0\0\xff\xff\xff\xff\xfe\xff\0\xe0\xff\xff\xff\xff"
    end = b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0"
    return item * depth + (end * depth if closed else b"")


@pytest.mark.parametrize(
    ("syntax", "implicit", "little"),
    [
        pytest.param(ImplicitVRLittleEndian, True, True, id="implicit"),
        pytest.param(ExplicitVRLittleEndian, False, True, id="explicit"),
        pytest.param(ExplicitVRBigEndian, False, False, id="big endian"),
    ],
)
def test_the_head_reads_like_the_data_set(syntax: str, implicit: bool, little: bool) -> None:
    made = data_set(PatientComments="x" * 5000)
    walked = look(encode(made, implicit, little), syntax)
    assert walked.fault == ""
    assert walked.has_pixels
    read = headers.dataset(walked)
    assert read.PatientName == "TEST^PERSON"
    assert (read.Rows, read.InstanceNumber) == (16, 1)
    assert "PixelData" not in read
    assert "PatientComments" not in read


def test_a_deflated_data_set_is_inflated_to_its_end() -> None:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    raw = packer.compress(encoded(data_set())) + packer.flush()
    walked = look(raw + b"\0" * (len(raw) % 2), DeflatedExplicitVRLittleEndian)
    assert walked.fault == ""
    assert headers.dataset(walked).PatientID == "ID-1"
    assert "truncated" in look(raw[: len(raw) // 2], DeflatedExplicitVRLittleEndian).fault
    assert look(os.urandom(500), DeflatedExplicitVRLittleEndian).fault


def test_deflate_bomb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walk, "INFLATED", 1 << 22)
    bomb = encoded(data_set(PixelData=bytes(1 << 25)))
    packer = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    raw = packer.compress(bomb) + packer.flush()
    assert len(raw) < 1 << 17
    walked = look(raw, DeflatedExplicitVRLittleEndian)
    assert walked.fault == ""
    assert "not looked at further" in walked.notes[0]
    assert headers.dataset(walked).PatientID == "ID-1"


ELEMENT = struct.pack("<HH2sH", 0x10, 0x20, b"LO", 4) + b"AB  "


@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        pytest.param(encoded(data_set())[:-100], "truncated", id="value cut"),
        pytest.param(ELEMENT + b"\x10\0\x30", "truncated", id="header cut"),
        pytest.param(nested(3, closed=False), "truncated", id="sequence left open"),
        pytest.param(nested(2000), "nested deeper", id="2000 sequences"),
        pytest.param(struct.pack("<HH2sH", 2, 0x10, b"UI", 2) + b"1\0", "group 0002", id="meta"),
        pytest.param(struct.pack("<HH2sH", 0, 0x10, b"UI", 2) + b"1\0", "group 0000", id="command"),
        pytest.param(b"\xfe\xff\0\xe0\0\0\0\0", "outside of a sequence", id="stray item"),
        pytest.param(
            struct.pack("<HH2sHL", 8, 0x1140, b"SQ", 0, 0xFFFFFFFF) + ELEMENT,
            "no item",
            id="no item",
        ),
        pytest.param(
            struct.pack("<HH2sHL", 8, 5, b"UT", 0, 0xFFFFFFFF), "undefined length", id="text open"
        ),
        pytest.param(bytes(16) + ELEMENT, "zeros", id="zeros first"),
    ],
)
def test_what_is_no_data_set(raw: bytes, fault: str) -> None:
    assert fault in look(raw).fault


def test_random_bytes_are_no_data_set() -> None:
    assert all(look(os.urandom(20_000)).fault for _ in range(50))


@pytest.mark.parametrize(
    ("raw", "note"),
    [
        pytest.param(ELEMENT + bytes(8), "zeros after the last element", id="padding"),
        pytest.param(
            struct.pack("<HH2sH", 0x10, 0x10, b"PN", 3) + b"A^B", "a value of odd length", id="odd"
        ),
    ],
)
def test_what_is_taken_with_a_note(raw: bytes, note: str) -> None:
    walked = look(raw)
    assert (walked.fault, walked.notes) == ("", [note])


def test_nesting_that_exists_is_taken() -> None:
    assert look(nested(walk.DEEPEST)).fault == ""


def test_repeated_elements_are_named() -> None:
    assert look(ELEMENT + ELEMENT).repeated == {0x00100020}


def test_the_head_is_bounded() -> None:
    raw = b"".join(
        struct.pack("<HH2sH", 9, 0x1000 + n, b"LO", 1000) + b"x" * 1000 for n in range(3000)
    )
    walked = look(raw)
    assert walked.fault == ""
    assert len(walked.head) <= walk.HEAD


@pytest.mark.parametrize("undefined", [True, False], ids=["undefined length", "defined length"])
@pytest.mark.parametrize(
    ("maker", "purpose", "ours"),
    [
        pytest.param("dictamen project", "109102", True, id="this product"),
        pytest.param("dictamen project", "109101", False, id="another purpose"),
        pytest.param("Acme", "109102", False, id="another maker"),
    ],
)
def test_made_by_us(maker: str, purpose: str, ours: bool, undefined: bool) -> None:
    code, item = Dataset(), Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = purpose, "DCM", "Purpose"
    item.Manufacturer = maker
    item.PurposeOfReferenceCodeSequence = Sequence([code])
    made = data_set(ContributingEquipmentSequence=Sequence([item]))
    for element in (made["ContributingEquipmentSequence"],):
        element.is_undefined_length = undefined
    read = headers.dataset(look(encoded(made)))
    assert headers.made_by_us(read) is ours
    assert headers.of(read)["ContributingEquipment"] == [maker]
