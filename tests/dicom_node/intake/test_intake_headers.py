"""What routing gets of a data set: short, plain, never binary, never an exception."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from intake_lab import data_set, encoded
from pydicom.dataset import Dataset
from pydicom.filereader import read_file_meta_info
from pydicom.uid import ExplicitVRLittleEndian

from dicom_node.intake import headers
from dicom_node.intake.reception import data_set_offset
from dicom_node.intake.walk import walk


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
