"""What a model of breast ultrasound may not judge by header or for its colour."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gate_cases
import pytest
from gate_cases import BUNDLES, SCAN, sequence, study

from processors import gate, pixels
from processors.analysis import Study

CARD: dict[str, Any] = {"gate": {"organ": "breast", "file": ""}}  # headers alone


def kind_of(changes: dict[str, Any], coloured: float = 0.0) -> str:
    return gate_cases.kind_of(study(SCAN | changes, coloured=coloured), CARD, Path())


def region(data_type: int, spatial_format: int) -> Any:
    return sequence(RegionDataType=data_type, RegionSpatialFormat=spatial_format)


SILENT = {"BodyPartExamined": None, "ImageType": ["ORIGINAL", "PRIMARY"]}


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        pytest.param({}, "", id="RGB, grey in content"),
        pytest.param({"PhotometricInterpretation": "YBR_FULL_422"}, "", id="YBR"),
        pytest.param({"PhotometricInterpretation": "PALETTE COLOR"}, "", id="palette"),
        pytest.param({"PhotometricInterpretation": "MONOCHROME2"}, "", id="grey"),
        pytest.param({"PatientAge": "015Y"}, "", id="the card names no ages"),
        pytest.param({"BodyPartExamined": None}, "", id="named by image type"),
        pytest.param(SILENT | {"StudyDescription": "ECOGRAFÍA DE MAMA"}, "", id="Spanish"),
        pytest.param(SILENT | {"StudyDescription": "Ecografía de senos"}, "", id="Latin America"),
        pytest.param(SILENT | {"AnatomicRegionSequence": sequence(CodeValue="80248007")}, "",
                     id="left breast by its code"),
        pytest.param(SILENT, "body-part-unknown", id="says nothing"),
        pytest.param({"Modality": "MG"}, "modality", id="mammogram"),
        pytest.param({"Modality": "MR"}, "modality", id="breast MR"),
        pytest.param({"BodyPartExamined": "THYROID"}, "body-part", id="thyroid"),
        pytest.param({"BodyPartExamined": "CHEST"}, "body-part", id="chest"),
        pytest.param({"BodyPartExamined": "BREAST AXILLA"}, "body-part", id="axilla as well"),
        pytest.param({"SeriesDescription": "Axila derecha"}, "contradiction", id="axilla, breast"),
        pytest.param(SILENT | {"StudyDescription": "Ecocardiograma"}, "body-part", id="heart"),
        pytest.param(SILENT | {"ImageType": ["ORIGINAL", "PRIMARY", "OBSTETRICAL"]}, "body-part",
                     id="another organ by image type"),
        pytest.param({"NumberOfFrames": 30}, "frames", id="cine"),
        pytest.param({"Rows": 60, "Columns": 80}, "resolution", id="a thumbnail"),
        pytest.param({"ImageType": ["DERIVED", "SECONDARY"], "Modality": "OT"},
                     "secondary-capture", id="another program's result"),
    ],
)  # fmt: skip
def test_header_of_a_scan(changes: dict[str, Any], kind: str) -> None:
    assert kind_of(changes) == kind


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        pytest.param({"UltrasoundColorDataPresent": 1}, "colour", id="colour data"),
        pytest.param({"UltrasoundColorDataPresent": 0}, "", id="no colour data"),
        pytest.param({"SequenceOfUltrasoundRegions": region(1, 1)}, "", id="tissue"),
        pytest.param({"SequenceOfUltrasoundRegions": region(13, 5)}, "", id="grey bar"),
        pytest.param({"SequenceOfUltrasoundRegions": region(2, 1)}, "colour", id="colour flow"),
        pytest.param({"SequenceOfUltrasoundRegions": region(3, 3)}, "mode", id="pulsed Doppler"),
        pytest.param({"SequenceOfUltrasoundRegions": region(1, 2)}, "mode", id="M-mode"),
        pytest.param({"SequenceOfUltrasoundRegions": region(10, 4)}, "mode", id="trace of an ECG"),
        pytest.param({"ImageType": ["ORIGINAL", "PRIMARY", "BREAST", "0011"]}, "colour",
                     id="2D and colour"),
        pytest.param({"ImageType": ["ORIGINAL", "PRIMARY", "BREAST", "0100"]}, "colour",
                     id="power Doppler"),
        pytest.param({"ImageType": ["ORIGINAL", "PRIMARY", "BREAST", "0009"]}, "mode",
                     id="2D and pulsed Doppler"),
        pytest.param({"ImageType": ["ORIGINAL", "PRIMARY", "BREAST", "LINEAR"]}, "",
                     id="a fourth value of the maker's"),
    ],
)  # fmt: skip
def test_doppler_and_other_modes(changes: dict[str, Any], kind: str) -> None:
    assert kind_of(changes) == kind


@pytest.mark.parametrize(
    ("photometric", "coloured", "kind"),
    [
        ("RGB", 0.0, ""),
        ("RGB", 0.004, ""),  # a logo, a marker
        ("RGB", 0.03, "colour"),
        ("YBR_FULL_422", 0.2, "colour"),
        ("PALETTE COLOR", 1.0, "colour"),
        ("MONOCHROME2", 1.0, ""),  # is not asked
    ],
)
def test_colour_in_the_picture(photometric: str, coloured: float, kind: str) -> None:
    assert kind_of({"PhotometricInterpretation": photometric}, coloured) == kind


def test_colour_that_cannot_be_read_is_a_refusal() -> None:
    def broken(uid: str, frame: int) -> float:
        raise pixels.RefusedPixels(pixels.Cause.DAMAGED, "x")

    made = study(SCAN)
    subject = Study(made.uid, made.instances, made.pixels, broken)
    assert gate_cases.kind_of(subject, CARD, Path()) == "unreadable"


def test_unknown_age_goes_unsaid_where_the_card_names_no_ages() -> None:
    assert gate.check(study(SCAN | {"PatientAge": None}), CARD, Path(), "es") == (None, ())


def test_reason_speaks_of_the_breast() -> None:
    refusal, _ = gate.check(study(SCAN | {"BodyPartExamined": "LIVER"}), CARD, Path(), "en")
    assert refusal is not None
    assert refusal.reason == "Not assessed because by its header the image is not of the breast."


def test_no_scan_gets_through_as_a_chest() -> None:
    assert gate_cases.kind_of(study(SCAN), {"name": "chest"}, BUNDLES / "chest") == "modality"
