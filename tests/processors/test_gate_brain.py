"""What a model of head MR may not judge by header, and what its reports must say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gate_cases
import pytest
from gate_cases import BUNDLES, SLICE, sequence, study

from processors import gate

CARD: dict[str, Any] = {"gate": {"organ": "brain", "file": ""}}  # headers alone


def kind_of(*changes: dict[str, Any], languages: str = "es en") -> str:
    subject = study(*(SLICE | one for one in changes))
    return gate_cases.kind_of(subject, CARD, Path(), languages)


def notes_of(*changes: dict[str, Any], language: str = "en") -> tuple[str, ...]:
    refusal, notes = gate.check(study(*(SLICE | c for c in changes)), CARD, Path(), language)
    assert refusal is None
    return notes


SILENT = {"BodyPartExamined": None, "SeriesDescription": None}


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        pytest.param({}, "", id="a plain slice"),
        pytest.param({"PatientAge": "007Y"}, "", id="of a child: the card names no ages"),
        pytest.param({"BodyPartExamined": "Cráneo"}, "", id="in Spanish"),
        pytest.param({"BodyPartExamined": "UNKNOWN", "StudyDescription": "RM CEREBRAL"}, "",
                     id="named in the study's words"),
        pytest.param(SILENT | {"AnatomicRegionSequence": sequence(CodeValue="12738006")}, "",
                     id="named by a code"),
        pytest.param(SILENT | {"AnatomicRegionSequence": sequence(CodeValue="T-A0100")}, "",
                     id="named by a code of SNOMED RT"),
        pytest.param({"StudyDescription": "MRI BRAIN AND NECK"}, "", id="both named"),
        pytest.param({"Modality": "CT"}, "modality", id="CT"),
        pytest.param({"Modality": "CR", "BodyPartExamined": "SKULL"}, "modality", id="skull film"),
        pytest.param(SILENT, "body-part-unknown", id="says nothing"),
        pytest.param({"BodyPartExamined": "KNEE"}, "body-part", id="knee"),
        pytest.param({"BodyPartExamined": "CHEST"}, "body-part", id="chest"),
        pytest.param({"BodyPartExamined": "CSPINE"}, "body-part", id="spine"),
        pytest.param({"SeriesDescription": "SAG T1 CERVICAL"}, "contradiction", id="spine, head"),
        pytest.param(SILENT | {"StudyDescription": "RM COLUMNA CERVICAL"}, "body-part",
                     id="spine in the study's words"),
        pytest.param(SILENT | {"StudyDescription": "RM DE PROSTATA"}, "body-part", id="prostate"),
        pytest.param({"AnatomicRegionSequence": sequence(CodeMeaning="Breast")}, "contradiction",
                     id="head by tag, breast by code"),
        pytest.param({"NumberOfFrames": 10}, "frames", id="several frames"),
        pytest.param({"Rows": 64, "Columns": 64}, "resolution", id="a thumbnail"),
        pytest.param({"PhotometricInterpretation": "RGB"}, "colour", id="colour"),
        pytest.param({"StudyDescription": "CANINE BRAIN"}, "species", id="a dog"),
        pytest.param({"ConversionType": "SI"}, "secondary-capture", id="scanned"),
    ],
)  # fmt: skip
def test_header_of_a_slice(changes: dict[str, Any], kind: str) -> None:
    assert kind_of(changes) == kind


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, id="image type"),
        pytest.param({"SeriesDescription": "3-plane LOC"}, id="GE"),
        pytest.param({"SeriesDescription": "AAHead_Scout"}, id="Siemens"),
        pytest.param({"SeriesDescription": "Survey"}, id="Philips"),
        pytest.param({"SeriesDescription": "localizador"}, id="Spanish"),
    ],
)
def test_localizer(changes: dict[str, Any]) -> None:
    assert kind_of(changes) == "localizer"


@pytest.mark.parametrize(
    ("image_type", "kind"),
    [
        (["DERIVED", "PRIMARY", "DIFFUSION", "ADC", "ND"], "derived"),
        (["DERIVED", "PRIMARY", "DIFFUSION MAP"], "derived"),
        (["DERIVED", "PRIMARY", "PERFUSION", "TTP"], "derived"),
        (["DERIVED", "SECONDARY", "T1 MAP"], "derived"),
        (["ORIGINAL", "PRIMARY", "P", "ND"], "derived"),
        (["DERIVED", "SECONDARY", "MODULUS SUBTRACT"], "derived"),
        (["DERIVED", "SECONDARY", "MPR"], ""),
        (["ORIGINAL", "PRIMARY", "OTHER"], ""),
    ],
)
def test_calculated_map(image_type: list[str], kind: str) -> None:
    assert kind_of({"ImageType": image_type}) == kind


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        pytest.param({"SeriesDescription": "AX T2 TSE"}, "sequence", id="T2"),
        pytest.param({"SeriesDescription": "t2_tirm_tra_dark-fluid"}, "sequence", id="Siemens"),
        pytest.param({"SeriesDescription": "sT2W_TSE"}, "sequence", id="Philips"),
        pytest.param({"SeriesDescription": "T2*GRE"}, "sequence", id="T2 star"),
        pytest.param({"SeriesDescription": "Ax FLAIR"}, "sequence", id="FLAIR"),
        pytest.param({"SeriesDescription": "DIFUSIÓN b1000"}, "sequence", id="diffusion"),
        pytest.param({"SeriesDescription": "SWI_Images"}, "sequence", id="SWI"),
        pytest.param({"SeriesDescription": None, "ProtocolName": "Head FLAIR"}, "sequence",
                     id="by protocol"),
        pytest.param({"ScanningSequence": ["EP", "SE"]}, "sequence", id="echo planar"),
        pytest.param({"SequenceName": "*ep_b1000#3"}, "sequence", id="echo planar by name"),
        pytest.param({"DiffusionBValue": 1000.0}, "sequence", id="b value"),
        pytest.param({"SeriesDescription": None, "EchoTime": 98.0}, "sequence", id="long echo"),
        pytest.param({"SeriesDescription": "T1 FLAIR GD"}, "", id="T1 FLAIR is T1"),
        pytest.param({"SeriesDescription": "eT1W_3D_TFE"}, "", id="Philips T1"),
        pytest.param({"SeriesDescription": "t1_mprage_sag"}, "", id="Siemens T1"),
        pytest.param({"SeriesDescription": "sin nombre", "EchoTime": None}, "", id="says nothing"),
    ],
)  # fmt: skip
def test_sequence_that_is_not_t1(changes: dict[str, Any], kind: str) -> None:
    assert kind_of(changes) == kind


def test_values_that_break_their_vr_are_no_crash() -> None:
    subject = study(SLICE)
    header = subject.instances[0].header
    header.add_new("EchoTime", "LO", "long")
    header.add_new("ImageOrientationPatient", "LO", ["x", "y"])
    header.add_new("DiffusionBValue", "LO", "b1000")
    assert gate_cases.kind_of(subject, CARD, Path()) == ""


@pytest.mark.parametrize(
    ("cosines", "kind"),
    [
        pytest.param([1, 0, 0, 0, 1, 0], "", id="axial"),
        pytest.param([0.98, 0.1, 0.05, -0.1, 0.9, -0.4], "", id="tilted"),
        pytest.param([1, 0, 0, 0, 0, -1], "", id="coronal"),
        pytest.param([0, 1, 0, 0, 0, -1], "", id="sagittal"),
        pytest.param([-1, 0, 0, 0, -1, 0], "rotated", id="axial on its head"),
        pytest.param([1, 0, 0, 0, 0, 1], "rotated", id="coronal on its head"),
        pytest.param([0, 1, 0, -1, 0, 0], "rotated", id="a quarter turn"),
        pytest.param([0, 0, -1, 0, 1, 0], "rotated", id="sagittal lying"),
        pytest.param([0, 0, 0, 0, 0, 0], "", id="zeros"),
        pytest.param([1, 0, 0], "", id="too few"),
        pytest.param(None, "", id="absent"),
    ],
)
def test_turned_slice(cosines: list[float] | None, kind: str) -> None:
    assert kind_of({"ImageOrientationPatient": cosines}) == kind


def test_mirrored_slice_is_said() -> None:
    assert notes_of({"ImageOrientationPatient": [-1, 0, 0, 0, 1, 0]}) == (
        "By its header an image is mirrored (right and left exchanged).",
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        pytest.param({}, False, id="with contrast"),
        pytest.param({"ContrastBolusAgent": None}, False, id="nothing said"),
        pytest.param({"ContrastBolusAgent": ""}, False, id="empty"),
        pytest.param({"ContrastBolusAgent": "NONE"}, True, id="none"),
        pytest.param({"SeriesDescription": "T1 SIN CONTRASTE"}, True, id="in Spanish"),
        pytest.param({"SeriesDescription": "AX T1 PRE-GD"}, True, id="before gadolinium"),
        pytest.param({"SeriesDescription": "T1 W/O"}, False, id="not clear"),
    ],
)
def test_no_contrast_is_said_and_no_refusal(changes: dict[str, Any], said: bool) -> None:
    notes = notes_of(changes, {}, language="es")
    expected = (
        "Según su cabecera, 1 de las imágenes valoradas se adquirieron sin contraste; el modelo "
        "solo se ha validado en T1 con contraste."
    )
    assert notes == ((expected,) if said else ())


def test_unknown_age_goes_unsaid_where_the_card_names_no_ages() -> None:
    assert notes_of({"PatientAge": None}) == ()


def test_a_study_of_many_series_leaves_one_sentence() -> None:
    """Three slices are judged; 26 of T2, 60 of diffusion and 3 localizers are counted."""
    many = [
        *[{}] * 3,
        *[{"SeriesDescription": "AX T2"}] * 26,
        *[{"ScanningSequence": "EP"}] * 60,
        *[{"SeriesDescription": "LOCALIZER"}] * 3,
    ]
    (note,) = notes_of(*many)
    assert note.startswith("89 images of the study have not been assessed: 86 because by its")
    assert "; 3 because the image is a localizer." in note
    subject = study(*(SLICE | one for one in many))
    assert len(gate.judge(subject, CARD, Path(), "en").accepted) == 3


def test_reason_speaks_of_the_head() -> None:
    refusal, _ = gate.check(study(SLICE | {"BodyPartExamined": "KNEE"}), CARD, Path(), "es")
    assert refusal is not None
    assert refusal.reason == "No valorado porque según su cabecera, la imagen no es de cabeza."


def test_no_slice_gets_through_as_a_chest() -> None:
    subject = study(SLICE)
    assert gate_cases.kind_of(subject, {"name": "chest"}, BUNDLES / "chest") == "modality"
