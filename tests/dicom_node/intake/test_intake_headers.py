"""What routing gets of a data set: short, plain, never binary, never an exception."""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path

import pydicom.config
import pytest
from intake_lab import data_set, encoded
from pydicom.datadict import keyword_for_tag
from pydicom.dataset import Dataset
from pydicom.filereader import read_file_meta_info
from pydicom.uid import ExplicitVRLittleEndian

from dicom_node.intake import headers
from dicom_node.intake.reception import data_set_offset
from dicom_node.intake.walk import Encoding, Walked, walk


def read(raw: bytes) -> Dataset:
    found = headers.dataset(walk(io.BytesIO(raw), len(raw), ExplicitVRLittleEndian))
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("keyword", "value", "told"),
    [
        pytest.param("Modality", "DX", "DX", id="text"),
        pytest.param("ImageType", ["DERIVED", "PRIMARY"], ["DERIVED", "PRIMARY"], id="list"),
        pytest.param("NumberOfFrames", 3, 3, id="integer text"),
        pytest.param("Rows", 16, 16, id="binary number"),
        pytest.param("PixelSpacing", [0.5, 0.25], [0.5, 0.25], id="decimals"),
        pytest.param("KVP", "70.5", 70.5, id="decimal"),
        pytest.param("PatientName", "Mu\u0308ller^J", "Mu?ller^J", id="name"),
        pytest.param("StudyDescription", "", None, id="empty is left out"),
        pytest.param("InstitutionAddress", "x" * 300, None, id="long is left out"),
        pytest.param("RedPaletteColorLookupTableData", b"\0\1", None, id="binary is left out"),
    ],
)
def test_headers_of(keyword: str, value: object, told: object) -> None:
    made = data_set(**{keyword: value})
    if keyword == "PatientName":
        made.SpecificCharacterSet, told = "ISO_IR 192", value
    found = headers.of(read(encoded(made)))
    assert found.get(keyword) == told
    json.dumps(found, allow_nan=False)


def test_pixels_are_told_not_read() -> None:
    raw = encoded(data_set())
    walked = walk(io.BytesIO(raw), len(raw), ExplicitVRLittleEndian)
    source = headers.dataset(walked)
    assert source is not None
    assert headers.of(source, has_pixels=walked.has_pixels)["HasPixelData"] is True
    assert headers.of(source)["HasPixelData"] is False
    assert headers.of(data_set())["HasPixelData"] is True


@pytest.mark.shared
def test_every_shared_file_gives_headers_and_identity(shared: Path) -> None:
    names: dict[str, str] = {}
    for path in sorted((shared / "data/dicom/charsets").glob("*.dcm")):
        raw = path.read_bytes()
        offset = data_set_offset(raw[:4096])
        if not offset:
            continue
        rest = raw[offset:]
        syntax = str(read_file_meta_info(path).TransferSyntaxUID)
        source = headers.dataset(walk(io.BytesIO(rest), len(rest), syntax))
        assert source is not None, path.name
        json.dumps(headers.of(source))
        names[path.name] = headers.identity(source).patient_name
    assert names["chrGreek.dcm"] == "Διονυσιος"
    assert names["chrH31.dcm"] == "Yamada^Tarou=山田^太郎=やまだ^たろう"
    assert names["chrRuss.dcm"] == "Люкceмбypг"


TEXTS = [
    "PACS",
    " padded ",
    "",
    "a\\b",
    "M\xfcller",
    "caf\xe9\\x",
    "1.2.840\0",
    "=^=",
    "x" * 300,
    "\x1b$B",
]


def _element(tag: int, vr: str, text: str, implicit: bool) -> bytes:
    raw = text.encode("latin-1")
    head = struct.pack("<HH", tag >> 16, tag & 0xFFFF)
    if implicit:
        return head + struct.pack("<L", len(raw)) + raw
    return head + vr.encode() + struct.pack("<H", len(raw)) + raw


@pytest.mark.parametrize("charset", [None, "ISO_IR 100", "ISO_IR 13", "\\ISO 2022 IR 87"])
@pytest.mark.parametrize("implicit", [False, True])
def test_everyday_values_are_what_pydicom_reads(
    charset: str | None, implicit: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The short way and the long way, element by element, bad values too."""
    monkeypatch.setattr(pydicom.config.settings, "reading_validation_mode", pydicom.config.IGNORE)
    found: list[list[object]] = []
    for short in (True, False):
        values: list[object] = []
        for vr, tag in (
            ("AE", 0x00080054), ("CS", 0x00080060), ("LO", 0x00081030), ("SH", 0x00080050),
            ("PN", 0x00100010), ("DA", 0x00080020), ("TM", 0x00080030), ("AS", 0x00101010),
            ("UI", 0x0020000D), ("IS", 0x00200013), ("DS", 0x00181114), ("US", 0x00280010),
        ):  # fmt: skip
            for text in (*TEXTS, "7", "-12 ", "1.50", "1e3", "99999999999", "\0\1"):
                raw = _element(0x00080005, "CS", charset, implicit) if charset is not None else b""
                raw += _element(tag, vr, text, implicit)
                source = headers.dataset(Walked(Encoding(implicit, True, False), bytearray(raw)))
                assert source is not None
                with pytest.MonkeyPatch.context() as patched:
                    if not short:
                        patched.setattr(headers, "_at_once", lambda _: None)
                    decoded = headers.of(source, has_pixels=False)
                    values.append((vr, text, decoded, headers.text(source, keyword_for_tag(tag))))
        found.append(values)
    differ = [pair for pair in zip(*found, strict=True) if repr(pair[0]) != repr(pair[1])]
    assert differ == []


@pytest.mark.parametrize("tag", [0x00080016, 0x00080018, 0x0020000D, 0x0020000E])
@pytest.mark.parametrize(
    "said",
    ["1.2.33", "1.2.3\0", " 1.2.3", "", "1.2\\13", "1.2.\xe9", "../x", "1.2\n.3", None, "two"],
)
def test_uids_are_read_the_short_way_as_the_long_one(tag: int, said: str | None) -> None:
    """As admission sees them: the same fault, the same text, whichever way was taken."""
    pairs = {0x00080016: "1.2.11", 0x00080018: "1.2.12", 0x0020000D: "1.2.13", 0x0020000E: "1.2.14"}
    values = [(one, text) for one, text in pairs.items() if one != tag]
    values += [(tag, "1.2.88"), (tag, "1.2.99")] if said == "two" else []
    values += [(tag, said)] if said not in (None, "two") else []
    raw = b"".join(_element(one, "UI", text, False) for one, text in sorted(values))
    walked = walk(io.BytesIO(raw), len(raw), ExplicitVRLittleEndian)
    long = headers.contained(walked, headers.dataset(walked), len(raw))
    if (short := headers.uids(walked)) is not None:
        assert headers.contained_shortly(walked, short, len(raw)) == long
        source = headers.dataset(walked)
        assert short[0x0020000E] == headers.text(source, "SeriesInstanceUID")
    else:
        assert said not in ("1.2.3\0", " 1.2.3", "../x")
