"""The pictures: attributes that no validator checks, and what stands in the pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    MultiFrameTrueColorSecondaryCaptureImageStorage,
    SecondaryCaptureImageStorage,
)
from report_cases import (
    MADE_AT,
    OPTIONS,
    absent,
    analysis,
    explanation,
    finding,
    full,
    present,
    read,
    region,
    source,
    study,
    undetermined,
    written,
)

from processors.analysis import Explanation, Finding, State
from processors.explain import METHODS
from processors.explain.faithfulness import REASONS
from reports import Report, drawing, pictures, secondary_capture

FREE, FOOT = 0.09, 0.06  # of the height: where viewers write
LEFT, RIGHT = 0.075, 0.045  # of the width: what they write at the foot
PICTURES = ["overlay", "strip"]


def shots(image: Dataset, told: Callable, options=OPTIONS) -> list[Report]:
    one = study(image)
    return list(secondary_capture.write(told(one, image), one, options, MADE_AT))


def frames(report: Report) -> np.ndarray:
    stack = read(report).pixel_array
    return stack if stack.ndim == 4 else stack[None]


@pytest.mark.parametrize("kind", PICTURES)
def test_what_the_validator_does_not_catch(kind: str):
    made = read(written()[kind])
    assert list(made.ImageType) == ["DERIVED", "SECONDARY"]
    assert made.Modality == "OT"
    assert made.ConversionType == "WSD"
    assert made.BurnedInAnnotation == "YES"
    assert made.RecognizableVisualFeatures == "NO"
    purpose = made.SourceImageSequence[0].PurposeOfReferenceCodeSequence[0]
    assert (purpose.CodeValue, purpose.CodingSchemeDesignator) == ("121322", "DCM")
    (ours,) = made.ContributingEquipmentSequence
    assert ours.PurposeOfReferenceCodeSequence[0].CodeValue == "109102"
    assert list(ours.SoftwareVersions) == ["dictamen 0.1.0", "chest-vae 1.0.0"]
    assert made.PlanarConfiguration == 0
    assert len(made.PixelData) % 2 == 0
    assert made.ImageComments.startswith(OPTIONS.label)
    assert made.SeriesDescription.startswith("AI DRAFT")
    assert len(made.SeriesDescription) <= 64
    absent_here = {"PixelSpacing", "NominalScannedPixelSpacing", "ImagerPixelSpacing",
                   "FrameOfReferenceUID", "WindowWidth", "RescaleSlope", "TimezoneOffsetFromUTC",
                   "AcquisitionDate"}  # fmt: skip
    assert not absent_here & set(made.dir())
    assert not any(element.tag.is_private for element in made.iterall())


@pytest.mark.parametrize("kind", PICTURES)
def test_patient_and_study_are_the_source_s(kind: str):
    made, image = read(written()[kind]), source()
    for keyword in ("PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate",
                    "PatientSex", "PatientAge", "StudyInstanceUID", "StudyDate", "StudyTime",
                    "StudyID", "AccessionNumber", "ReferringPhysicianName", "StudyDescription",
                    "BodyPartExamined"):  # fmt: skip
        assert str(made[keyword].value) == str(image[keyword].value), keyword
    assert made.SpecificCharacterSet == "ISO_IR 192"
    assert list(made.PatientOrientation) == ["L", "F"]
    assert made.SeriesInstanceUID != image.SeriesInstanceUID


TYPE_2 = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime",
          "StudyID", "AccessionNumber", "ReferringPhysicianName")  # fmt: skip


@pytest.mark.parametrize("keyword", TYPE_2)
def test_missing_type_2_is_empty_never_invented(keyword: str):
    for report in written(**{keyword: None}).values():
        if report.kind != "hl7_oru":
            assert read(report)[keyword].value in ("", None)


@pytest.mark.parametrize(
    ("keyword", "value"),
    [("PatientAge", "62"), ("BodyPartExamined", "torax"), ("StudyTime", "9:08"),
     ("StudyDate", "2026.11.20"), ("PatientSex", "W"), ("Laterality", "links")],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_invalid_values_are_left_out(keyword: str, value: str):
    for report in written(source(**{keyword: value})).values():
        if report.kind != "hl7_oru":
            assert str(read(report).get(keyword) or "") == ""


@pytest.mark.parametrize(
    ("part", "said", "written_as"),
    [
        pytest.param("BREAST", {"Laterality": "L"}, "L", id="as the source says"),
        pytest.param("BREAST", {}, "", id="paired and silent: empty"),
        pytest.param("CHEST", {}, None, id="not paired: left out"),
    ],
)
def test_laterality(part: str, said: dict[str, str], written_as: str | None):
    for kind in PICTURES:
        made = read(written(source(BodyPartExamined=part, **said))[kind])
        assert made.get("Laterality", None) == written_as


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        ({}, ("00", None, None)),
        ({"LossyImageCompression": "01"}, ("01", None, None)),
        ({"LossyImageCompression": "01", "LossyImageCompressionRatio": "8.3",
          "LossyImageCompressionMethod": "ISO_10918_1"}, ("01", "8.3", "ISO_10918_1")),
    ],
)  # fmt: skip
def test_once_lossy_always_lossy(history: dict[str, str], expected: tuple):
    for kind in PICTURES:
        made = read(written(**history)[kind])
        found = (
            made.LossyImageCompression,
            made.get("LossyImageCompressionRatio"),
            made.get("LossyImageCompressionMethod"),
        )
        assert tuple(None if one is None else str(one) for one in found) == expected


@pytest.mark.parametrize(
    ("syntax", "expected"),
    [("1.2.840.10008.1.2.4.50", "01"), ("1.2.840.10008.1.2.4.70", "00"), (None, "00")],
)
def test_lossy_syntax_counts_although_the_source_says_nothing(syntax: str | None, expected: str):
    image = source()
    image.file_meta = FileMetaDataset()
    if syntax:
        image.file_meta.TransferSyntaxUID = syntax
    assert read(written(image)["overlay"]).LossyImageCompression == expected


def test_other_patient_ids_are_copied_without_private_elements():
    item = Dataset()
    item.PatientID, item.IssuerOfPatientID = "X-9", "OTHER"
    item.add_new(0x00111012, "LO", "private")
    made = read(written(OtherPatientIDsSequence=[item])["overlay"])
    (copied,) = made.OtherPatientIDsSequence
    assert (copied.PatientID, copied.IssuerOfPatientID, len(copied)) == ("X-9", "OTHER", 2)


@pytest.mark.parametrize("own", [None, "ISO_IR 100"])
def test_an_item_s_texts_decode_as_the_image_around_it_says(own: str | None):
    item = Dataset()
    if own:
        item.SpecificCharacterSet = own
    item.PatientID, item.IssuerOfPatientID = "X-9", "Clínica Málaga"
    made = read(written(OtherPatientIDsSequence=[item])["overlay"])
    (copied,) = made.OtherPatientIDsSequence
    assert (copied.IssuerOfPatientID, len(copied)) == ("Clínica Málaga", 2)


def test_times_follow_the_source_s_offset():
    made = read(written(TimezoneOffsetFromUTC="+0100")["overlay"])
    assert made.TimezoneOffsetFromUTC == "+0100"
    assert (made.ContentTime, made.StudyTime) == ("111530", "090807")


def test_strip_is_a_cine_with_labels():
    made = read(written()["strip"])
    assert made.SOPClassUID == MultiFrameTrueColorSecondaryCaptureImageStorage
    assert made.NumberOfFrames == 7
    assert made.FrameIncrementPointer == 0x00182002
    labels = list(made.FrameLabelVector)
    assert labels[0] == "SYNTHETIC a-1.00"
    assert len(labels) == 7
    assert all(label.startswith("SYNTHETIC") and len(label) <= 16 for label in labels)
    assert "not pictures of the patient" in made.DerivationDescription


@pytest.mark.parametrize(
    ("strip", "count", "sop_class"),
    [
        ("cine", 1, MultiFrameTrueColorSecondaryCaptureImageStorage),
        ("single_frames", 7, SecondaryCaptureImageStorage),
        ("mosaic", 1, SecondaryCaptureImageStorage),
    ],
)
def test_strip_variants(strip, count: int, sop_class: str):
    reports = [r for r in shots(source(), full, replace(OPTIONS, strip=strip)) if r.kind == "strip"]
    made = [read(report) for report in reports]
    assert [report.index for report in reports] == list(range(count))
    assert {one.SOPClassUID for one in made} == {sop_class}
    assert len({one.SeriesInstanceUID for one in made}) == 1
    assert len({one.SOPInstanceUID for one in made}) == count
    assert [one.InstanceNumber for one in made] == list(range(1, count + 1))


@pytest.mark.parametrize("strip", ["cine", "single_frames", "mosaic"])
@pytest.mark.parametrize("language", ["en", "es"])
def test_label_is_burnt_into_every_frame_and_viewers_write_beside_it(language, strip):
    options = replace(OPTIONS, language=language, strip=strip)
    other = replace(options, label="x" * len(OPTIONS.label))
    for mine, theirs in zip(
        shots(source(), full, options), shots(source(), full, other), strict=True
    ):
        for frame, changed in zip(frames(mine), frames(theirs), strict=True):
            top = int(FREE * frame.shape[0])
            foot = frame[-int(FOOT * frame.shape[0]) :]
            left, right = (int(share * frame.shape[1]) for share in (LEFT, RIGHT))
            assert [part.any() for part in (frame[:top], foot[:, :left], foot[:, -right:])] == [
                False
            ] * 3
            rows = min(frame.shape[0], changed.shape[0])
            assert frame.shape != changed.shape or (frame[:rows] != changed[:rows]).any()


def test_every_frame_says_synthetic(monkeypatch: pytest.MonkeyPatch):
    drawn: list[list[str]] = []
    compose = drawing.compose

    def watched(layout, lines, *rest):
        drawn.append([line.text for line in lines] + [line.right for line in lines])
        return compose(layout, lines, *rest)

    monkeypatch.setattr(drawing, "compose", watched)
    image = source()
    pictures.strip(explanation(image, "pneumonia"), present(image), OPTIONS)
    assert len(drawn) == 7
    for texts in drawn:
        assert texts[0] == "SYNTHETIC"
        assert any("Model's answer to this picture: Pneumonia" in text for text in texts)
        assert any(text.startswith("α ") for text in texts)
        assert OPTIONS.label in texts


def failed(one, image):
    return analysis(one, (present(image),), (explanation(image, "pneumonia", shown=False),))


def passed(one, image):
    return analysis(one, (present(image),), (explanation(image, "pneumonia"),))


def test_failed_explanation_gives_no_strip_and_is_said_aloud(monkeypatch: pytest.MonkeyPatch):
    lines: list[drawing.Line] = []
    compose = drawing.compose

    def watched(layout, caption, *rest):
        lines.extend(caption)
        return compose(layout, caption, *rest)

    monkeypatch.setattr(drawing, "compose", watched)
    assert [report.kind for report in shots(source(), failed)] == ["overlay"]
    (loud,) = [line for line in lines if "EXPLANATION NOT SHOWN" in line.text]
    assert "deletion 0.20 is below 0.50" in loud.text
    lines.clear()
    assert [report.kind for report in shots(source(), passed)] == ["overlay", "strip"]
    (usual,) = [line for line in lines if "Explanation tested" in line.text]
    assert loud.size >= usual.size >= 1 / 40


@pytest.mark.parametrize(
    ("findings", "kinds"),
    [
        pytest.param(lambda s: (absent(s),), [], id="absent"),
        pytest.param(lambda s: (undetermined(s),), ["overlay"], id="undetermined without region"),
        pytest.param(lambda s: (present(s, regions=()),), ["overlay"], id="no region"),
    ],
)
def test_which_pictures(findings, kinds: list[str]):
    found = shots(source(), lambda one, image: analysis(one, findings(image)))
    assert [report.kind for report in found] == kinds


def test_one_overlay_for_each_image_in_one_series():
    first, second = source(1), source(2)
    one = study(first, second)
    found = (present(first), finding(second, "nodule", None, State.UNDETERMINED, 0.5))
    reports = secondary_capture.write(analysis(one, found), one, OPTIONS, MADE_AT)
    made = [read(report) for report in reports]
    assert [r.index for r in reports] == [0, 1]
    assert len({m.SeriesInstanceUID for m in made}) == 1
    named = [m.SourceImageSequence[0].ReferencedSOPInstanceUID for m in made]
    assert named == [first.SOPInstanceUID, second.SOPInstanceUID]


def test_a_series_gives_pictures_of_its_gravest_images_alone():
    images = [source(number) for number in range(1, 6)]
    one = study(*images)
    found = tuple(
        finding(image, "nodule", None, State.PRESENT, 0.5 + number / 20)
        for number, image in enumerate(images)
    )
    reports = secondary_capture.write(analysis(one, found), one, OPTIONS, MADE_AT)
    named = [read(r).SourceImageSequence[0].ReferencedSOPInstanceUID for r in reports]
    assert named == [image.SOPInstanceUID for image in images[:1:-1]]


def test_every_finding_has_its_picture():
    images = [source(number) for number in range(1, 6)]
    one = study(*images)
    often = [finding(image, "nodule", None, State.PRESENT, 0.9) for image in images[:4]]
    rare = finding(images[4], "mass", None, State.PRESENT, 0.3)
    reports = secondary_capture.write(analysis(one, (*often, rare)), one, OPTIONS, MADE_AT)
    named = [read(r).SourceImageSequence[0].ReferencedSOPInstanceUID for r in reports]
    assert len(named) == 3
    assert images[4].SOPInstanceUID in named


def outline_box(frame: np.ndarray, colour: tuple[int, int, int]) -> tuple[float, ...]:
    near = (np.abs(frame.astype(int) - np.array(colour)) < 30).all(axis=-1)
    rows, columns = np.nonzero(near)
    return columns.min(), columns.max(), rows.min(), rows.max()


@pytest.mark.parametrize(
    ("rows", "columns"),
    [(64, 64), (200, 160), (160, 200), (3000, 2500), (120, 400), (65, 97)],
    ids=lambda number: str(number),
)
def test_sizes(rows: int, columns: int):
    """Any source gives a readable picture of a sane size, the outline where the region is."""
    image = source(Rows=rows, Columns=columns)
    one = study(image)
    told = analysis(one, (present(image, regions=(region(image, 0.5, 0.5, 0.25),)),))
    (report,) = secondary_capture.write(told, one, OPTIONS, MADE_AT)
    frame = frames(report)[0]
    assert 600 <= frame.shape[0] <= 3000
    assert 700 <= frame.shape[1] <= 3000
    left, right, top, bottom = outline_box(frame[:, 80:], drawing.OUTLINES[0])
    assert (right - left) / (bottom - top) == pytest.approx(columns / rows, rel=0.08)


def test_unequal_pixels_are_shown_in_their_true_shape():
    image = source(Rows=100, Columns=100, PixelSpacing=[0.4, 0.2])
    one = study(image)
    told = analysis(one, (present(image, regions=(region(image, 0.5, 0.5, 0.25),)),))
    frame = frames(secondary_capture.write(told, one, OPTIONS, MADE_AT)[0])[0]
    left, right, top, bottom = outline_box(frame[:, 80:], drawing.OUTLINES[0])
    assert (bottom - top) / (right - left) == pytest.approx(2, rel=0.08)


def test_long_notes_leave_the_anatomy_its_room():
    image = source()
    one = study(image)
    told = replace(full(one, image), notes=("palabra " * 80,) * 6)
    (report, *_) = secondary_capture.write(told, one, OPTIONS, MADE_AT)
    frame = frames(report)[0]
    # pictures.LEAST is the side of the panel of this small source
    assert pictures.LEAST / frame.shape[0] > 0.4


@pytest.mark.parametrize("methods", [2, 5])
@pytest.mark.parametrize("findings", [1, 2, 4])
def test_long_reasons_leave_the_anatomy_its_room(findings: int, methods: int):
    image = source(Rows=900, Columns=700)
    why = "; ".join([*REASONS["es"].values()][-6:])
    labels = ("pneumonia", "nodule", "atelectasis", "cardiomegaly")[:findings]
    uid = str(image.SOPInstanceUID)
    withheld = tuple(
        Explanation(label, uid, method, (), None, (), False, f"{label}: {why}")
        for label in labels
        for method in list(METHODS)[:methods]
    )
    told = analysis(study(image), tuple(_outlined(image, label) for label in labels), withheld)
    drawn = pictures.overlay(told, study(image), OPTIONS, (uid, 1))
    # the panel of this source is as tall as panels may be
    assert pictures.PANEL / drawn.height > 0.24


def _outlined(image: Dataset, label: str) -> Finding:
    return replace(present(image), label=label)


def test_not_a_number_in_the_pixels_is_drawn_dark():
    image = source()
    one = study(image)
    broken = replace(one, pixels=lambda uid, frame: np.full((200, 160), np.nan, np.float32))
    told = analysis(one, (present(image),))
    frame = frames(secondary_capture.write(told, broken, OPTIONS, MADE_AT)[0])[0]
    assert frame.max() == 255  # the caption is there all the same


@pytest.mark.parametrize(("part", "modality", "face"), [
    ("CHEST", "DX", "NO"), ("HEAD", "MR", "YES"), ("BREAST", "MG", "NO"), ("", "CT", "YES"),
])  # fmt: skip
def test_recognisable_face(part: str, modality: str, face: str):
    made = read(written(BodyPartExamined=part, Modality=modality)["overlay"])
    assert made.RecognizableVisualFeatures == face


def test_letters_that_matter_are_large_enough():
    image = source()
    one = study(image)
    caption = pictures._caption(full(one, image), full(one, image).findings[:2], OPTIONS, True)
    assert min(line.size for line in caption if line.colour != drawing.GREY) >= 1 / 40
