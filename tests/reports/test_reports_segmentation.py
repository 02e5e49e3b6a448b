"""The SEG of a model's masks: whose it is, where it lies, what it says; and when there is none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import foreign_bundles as foreign
import highdicom as hd
import numpy as np
import pytest
from pydicom.filebase import DicomBytesIO
from report_cases import MADE_AT, OPTIONS

from processors.adapters.series import TURNED as JUDGED_AS_TURNED
from processors.analysis import Algorithm, Analysis, Code, Finding, Mask, Region, State, Status
from reports import ReportError, write_all
from reports.result import result
from reports.segmentation import TURNED

ABNORMAL = Code("49755003", "SCT", "Morphologically Abnormal Structure")
NODULE = Code("27925004", "SCT", "Nodule")
SERIES = foreign.ct_series()
STUDY = foreign.study(*SERIES)
TILTED = [1, 0, 0, 0, 0.9998, 0.02]
UIDS = [str(one.SOPInstanceUID) for one in SERIES]


def mask(label: str, first: int, last: int, corner: int = 10) -> Mask:
    plane = np.zeros(foreign.CT_SHAPE[1:], bool)
    plane[corner : corner + 20, 30:60] = True
    return Mask(label, ABNORMAL, {uid: plane.copy() for uid in UIDS[first:last]})


def finding(label: str, code: Code | None = NODULE, state: State = State.PRESENT) -> Finding:
    return Finding(label, UIDS[5], 0.8, 0.5, state, (0.5, 0.5), code=code)


ONE = Analysis(
    STUDY.uid,
    "ball",
    Algorithm("ball", "1.2.0", "ab" * 32),
    Status.COMPLETED,
    findings=(finding("nodule"), finding("own thing", None)),
    masks=(mask("nodule", 4, 9), mask("own thing", 7, 12, corner=40)),
)


def written(analysis: Analysis = ONE, study: Any = STUDY) -> Any:
    (report,) = write_all(analysis, study, OPTIONS, MADE_AT, ["segmentation"])
    return hd.seg.segread(DicomBytesIO(report.payload))


def test_segments_say_what_who_and_with_which_weights() -> None:
    first, second = written().SegmentSequence
    assert first.SegmentedPropertyTypeCodeSequence[0].CodeValue == "27925004"
    # without a verified code the type is no more than the category
    assert second.SegmentedPropertyTypeCodeSequence[0].CodeValue == "49755003"
    assert second.SegmentLabel == "Own thing"
    for segment in (first, second):
        (algorithm,) = segment.SegmentationAlgorithmIdentificationSequence
        assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == ("ball", "1.2.0")
        assert f"sha256:{'ab' * 32}" in str(algorithm.AlgorithmParameters)
        assert segment.SegmentAlgorithmType == "AUTOMATIC"


def test_it_lies_where_its_series_lies() -> None:
    made = written()
    assert made.FrameOfReferenceUID == SERIES[0].FrameOfReferenceUID
    (series,) = made.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == SERIES[0].SeriesInstanceUID
    assert {str(one.ReferencedSOPInstanceUID) for one in series.ReferencedInstanceSequence} == set(
        UIDS
    )
    pixels = made.get_pixels_by_source_instance(
        UIDS, ignore_spatial_locations=True, assert_missing_frames_are_empty=True
    )
    for number, one in enumerate(ONE.masks):
        for place, uid in enumerate(UIDS):
            wanted = one.planes.get(uid, np.zeros(foreign.CT_SHAPE[1:], bool))
            assert np.array_equal(pixels[place, ..., number].astype(bool), wanted)


def test_it_is_the_patient_s_and_says_what_it_is() -> None:
    made = written()
    assert (made.PatientID, made.AccessionNumber) == ("SEG-1", "ACC-SEG")
    assert str(made.PatientName) == "Muestra^Clara"
    assert "not for diagnostic use" in made.SeriesDescription
    assert made.ContentDescription in OPTIONS.label


def test_same_input_same_bytes_and_another_mask_another_uid() -> None:
    one, again = (write_all(ONE, STUDY, OPTIONS, MADE_AT, ["segmentation"])[0] for _ in range(2))
    assert one == again
    wider = replace(ONE, masks=(mask("nodule", 4, 10), ONE.masks[1]))
    assert write_all(wider, STUDY, OPTIONS, MADE_AT, ["segmentation"])[0].uid != one.uid


@pytest.mark.parametrize(
    "analysis",
    [
        replace(ONE, masks=()),
        replace(ONE, findings=tuple(replace(f, state=State.ABSENT) for f in ONE.findings)),
        replace(ONE, status=Status.UNSUITABLE, reason="Not assessed because it rains."),
        replace(ONE, status=Status.FAILED, reason="Broken."),
    ],
    ids=["no mask", "all absent", "unsuitable", "failed"],
)
def test_when_there_is_none(analysis: Analysis) -> None:
    assert write_all(analysis, STUDY, OPTIONS, MADE_AT, ["segmentation"]) == ()


def test_a_kind_that_is_not_written_changes_no_uid() -> None:
    """A node without segmentations keeps the UIDs that it had before there were any."""
    plain = replace(ONE, masks=())
    with_it, without = (
        write_all(plain, STUDY, OPTIONS, MADE_AT, kinds)
        for kinds in (["segmentation", "text_report"], ["text_report"])
    )
    assert [one.uid for one in with_it] == [one.uid for one in without]


def test_slices_that_are_turned_by_rounding_are_one_series() -> None:
    """As accepted and judged: a SEG that failed here took the other reports with it."""
    series = foreign.ct_series()
    for number, one in enumerate(series):
        a = 1e-6 * (number % 3)
        turned = (np.cos(a), np.sin(a), 0, -np.sin(a), np.cos(a), 0)
        one.ImageOrientationPatient = [f"{cosine:.8f}" for cosine in turned]
    made = written(study=foreign.study(*series))
    assert made.NumberOfFrames == written().NumberOfFrames
    assert TURNED == JUDGED_AS_TURNED


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda series: [delattr(d, "ImageOrientationPatient") for d in series], "where they lie"),
        (lambda series: setattr(series[5], "SeriesInstanceUID", "2.25.8"), "one series"),
        (lambda series: setattr(series[5], "ImageOrientationPatient", TILTED), "one series"),
    ],
    ids=["projection image", "two series", "a slice at an angle"],
)
def test_no_seg_without_a_place_in_space(
    spoil: Callable[[list[Any]], object], message: str
) -> None:
    series = foreign.ct_series()
    spoil(series)
    with pytest.raises(ReportError, match=message):
        write_all(ONE, foreign.study(*series), OPTIONS, MADE_AT, ["segmentation"])


def test_result_json_counts_what_is_covered() -> None:
    first, second = result(ONE)["masks"]
    assert (first["label"], len(first["pixels"]), set(first["pixels"].values())) == (
        "nodule", 5, {600},
    )  # fmt: skip
    assert second["label"] == "own thing"


def test_an_outline_that_a_model_drew_is_part_of_the_result() -> None:
    box = ((1.0, 1.0), (5.0, 1.0), (5.0, 5.0), (1.0, 1.0))
    moved = (*box[:2], (6.0, 5.0), box[3])
    made = [
        replace(
            ONE,
            masks=(),
            findings=(replace(finding("nodule"), regions=(Region(UIDS[5], p, shows="extent"),)),),
        )
        for p in (box, moved)
    ]
    first, second = (write_all(a, STUDY, OPTIONS, MADE_AT, ["text_report"])[0].uid for a in made)
    assert first != second
