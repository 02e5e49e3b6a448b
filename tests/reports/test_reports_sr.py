"""The Structured Reports: what dciodvfy does not see (standards.md, rule 3 and part B)."""

from __future__ import annotations

from dataclasses import replace

import highdicom as hd
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ComprehensiveSRStorage, EnhancedSRStorage
from report_cases import (
    ALGORITHM,
    EFFUSION,
    KINDS,
    LUNG,
    MADE_AT,
    OPTIONS,
    PNEUMONIA,
    absent,
    analysis,
    concept,
    finding,
    full,
    items,
    present,
    read,
    refused,
    region,
    source,
    study,
    undetermined,
    written,
)

from processors.analysis import Code, Finding, Impression, Region, Sentence, State
from reports import Report, ReportError, structured_report, text_report, uids, write_all
from reports.content import finding_line

BOTH = ["structured_report", "text_report"]


def by_name(root: Dataset, code: str) -> list[Dataset]:
    return [item for item in items(root) if concept(item) == code]


def texts(root: Dataset) -> list[str]:
    return [str(item.TextValue) for item in items(root) if item.ValueType == "TEXT"]


def coded_value(item: Dataset) -> str:
    return str(item.ConceptCodeSequence[0].CodeValue)


@pytest.mark.parametrize("kind", BOTH)
def test_flags_never_verified_never_final(kind: str):
    made = read(written()[kind])
    assert made.CompletionFlag == "COMPLETE"
    assert made.PreliminaryFlag == "PRELIMINARY"
    assert made.VerificationFlag == "UNVERIFIED"
    assert "VerifyingObserverSequence" not in made
    assert made.Modality == "SR"
    assert list(made.PerformedProcedureCodeSequence) == []


CONTENT = (
    "ValueType", "ConceptNameCodeSequence", "ContinuityOfContent", "ContentTemplateSequence",
    "ContentSequence",
)  # fmt: skip
OURS = {  # of the frozen time and of this node, which highdicom cannot know
    "InstanceCreationDate", "InstanceCreationTime", "ContentDate", "ContentTime",
    "Manufacturer", "CodingSchemeIdentificationSequence", "ContributingEquipmentSequence",
}  # fmt: skip


@pytest.mark.parametrize("kind", BOTH)
def test_the_document_is_the_one_that_highdicom_makes_of_the_same_content(kind: str):
    made = read(written()[kind])
    content, evidence = Dataset(), []
    for keyword in CONTENT:
        content[keyword] = made[keyword]
    for series in made.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence:
        for reference in series.ReferencedSOPSequence:
            seen = source()
            seen.SOPClassUID = reference.ReferencedSOPClassUID
            seen.SOPInstanceUID = reference.ReferencedSOPInstanceUID
            seen.SeriesInstanceUID = series.SeriesInstanceUID
            evidence.append(seen)
    assert len(evidence) == 2  # the film and the overlay
    document = hd.sr.ComprehensiveSR if kind == "structured_report" else hd.sr.EnhancedSR
    theirs = document(
        evidence=evidence,
        content=content,
        series_instance_uid=made.SeriesInstanceUID,
        series_number=int(made.SeriesNumber),
        sop_instance_uid=made.SOPInstanceUID,
        instance_number=int(made.InstanceNumber),
        is_complete=True,
        is_final=False,
        is_verified=False,
        series_description=made.SeriesDescription,
        specific_character_set="ISO_IR 192",
    )
    differing = {e.keyword for e in theirs if e.keyword not in OURS and made.get(e.tag) != e}
    assert differing == set()


@pytest.mark.parametrize("kind", BOTH)
def test_dates_are_the_frozen_ones(kind: str):
    made = read(written()[kind])
    for name in ("InstanceCreation", "Series", "Content"):
        assert made[f"{name}Date"].value == "20261120"
        assert made[f"{name}Time"].value == "101530"
    assert (made.StudyDate, made.StudyTime) == ("20261120", "090807")
    assert "TimezoneOffsetFromUTC" not in made


@pytest.mark.parametrize("kind", BOTH)
def test_evidence_lists_everything_the_content_names(kind: str):
    reports = written()
    made = read(reports[kind])
    listed = {
        str(item.ReferencedSOPInstanceUID)
        for study_item in made.CurrentRequestedProcedureEvidenceSequence
        for series in study_item.ReferencedSeriesSequence
        for item in series.ReferencedSOPSequence
    }
    named = {
        str(item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID)
        for item in items(made)
        if item.ValueType == "IMAGE"
    }
    assert named <= listed
    assert listed == {str(source().SOPInstanceUID), reports["overlay"].uid}
    assert "PertinentOtherEvidenceSequence" not in made


def test_group_of_a_present_finding():
    made = read(written()["structured_report"])
    (group,) = by_name(made, "125007")
    inside = items(group)
    assert coded_value(by_name(group, "121071")[0]) == "233604007"
    assert coded_value(by_name(group, "233604007")[0]) == "52101004"
    assert coded_value(by_name(group, "363698007")[0]) == LUNG.value
    (certainty,) = by_name(group, "111012")
    assert certainty.MeasuredValueSequence[0].NumericValue == 71
    assert "SCOORD" not in [item.ValueType for item in items(certainty)]
    (shape,) = [item for item in inside if item.ValueType == "SCOORD"]
    assert shape.GraphicType == "POLYLINE"
    points = list(shape.GraphicData)
    assert points[:2] == points[-2:]
    assert len(points) > 2 * 5  # a viewer would make a measurement of its own of fewer
    wanted = [round(value, 2) for point in region(source()).points for value in point]
    assert [round(value, 2) for value in points] == wanted
    parameters = [item.TextValue for item in by_name(group, "111002")]
    assert f"weights sha256:{ALGORITHM.sha256}" in parameters


def test_only_present_is_called_a_finding():
    made = read(written()["structured_report"])
    assert [coded_value(item) for item in by_name(made, "121071")] == [PNEUMONIA.value]
    (container,) = by_name(made, "C0034375")
    evaluations = {concept(i): coded_value(i) for i in items(container) if i.ValueType == "CODE"}
    assert evaluations == {"27925004": "373068000", "60046008": "272519000"}
    comments = [str(i.TextValue) for i in by_name(container, "121106")]
    assert comments[0] == OPTIONS.label
    assert "Edad desconocida." in comments


@pytest.mark.parametrize(
    ("findings", "expected"),
    [
        pytest.param(lambda s: (present(s),), 1, id="present with region"),
        pytest.param(lambda s: (present(s, regions=()),), 0, id="present without region"),
        pytest.param(lambda s: (present(s, code=None),), 0, id="present without code"),
        pytest.param(
            lambda s: (present(s, code=Code("233604008", "SCT", "Wrong digit")),),
            0,
            id="present with a wrong code",
        ),
        pytest.param(
            lambda s: (undetermined(s, regions=(region(s),)),), 0, id="undetermined with region"
        ),
        pytest.param(lambda s: (absent(s),), 0, id="absent"),
        pytest.param(
            lambda s: (present(s, regions=(region(s), region(s, 0.7))),), 2, id="two regions"
        ),
    ],
)
def test_groups(findings, expected: int):
    image = source()
    one = study(image)
    told = analysis(one, findings(image))
    reports = structured_report.write(told, one, OPTIONS, MADE_AT)
    assert len(reports) == (1 if expected else 0)
    if expected:
        made = read(reports[0])
        assert len(by_name(made, "125007")) == expected
        tracking = [item.UID for item in by_name(made, "112040")]
        assert len(set(tracking)) == expected


def test_two_images_of_one_label_count_once_as_evaluation():
    first, second = source(1), source(2)
    one = study(first, second)
    weak = finding(first, "pleural effusion", EFFUSION, State.ABSENT, 0.05)
    strong = finding(second, "pleural effusion", EFFUSION, State.UNDETERMINED, 0.5)
    told = analysis(one, (weak, strong, present(first)))
    (container,) = by_name(
        read(structured_report.write(told, one, OPTIONS, MADE_AT)[0]), "C0034375"
    )
    states = [coded_value(i) for i in items(container) if i.ValueType == "CODE"]
    assert states == ["373068000"]


@pytest.mark.parametrize(
    ("findings", "sop_class", "states"),
    [
        pytest.param(
            lambda s: (present(s), absent(s)), EnhancedSRStorage, [], id="codes in TID 1500"
        ),
        pytest.param(
            lambda s: (absent(s),), ComprehensiveSRStorage, ["272519000"], id="all absent"
        ),
        pytest.param(
            lambda s: (undetermined(s), absent(s)),
            ComprehensiveSRStorage,
            ["373068000", "272519000"],
            id="no region",
        ),
        pytest.param(
            lambda s: (present(s, code=None),), EnhancedSRStorage, [], id="nothing to code"
        ),
    ],
)
def test_coded_states_of_the_text_report(findings, sop_class: str, states: list[str]):
    image = source()
    one = study(image)
    (report,) = text_report.write(analysis(one, findings(image)), one, OPTIONS, MADE_AT)
    made = read(report)
    assert made.SOPClassUID == report.sop_class == sop_class
    (section,) = by_name(made, "121070")
    assert [coded_value(i) for i in section.ContentSequence if i.ValueType == "CODE"] == states
    assert section.ContentSequence[0].ValueType == "TEXT"


def test_coded_states_stay_when_the_structured_report_is_not_wanted():
    image = source()
    one = study(image)
    (report,) = write_all(full(one, image), one, OPTIONS, MADE_AT, ["text_report"])
    made = read(report)
    assert made.SOPClassUID == ComprehensiveSRStorage
    coded = [i for i in items(made) if i.ValueType == "CODE" and concept(i) == "233604007"]
    # once as a state of the study, once as what the draft is inferred from
    assert [i.RelationshipType for i in coded] == ["CONTAINS", "INFERRED FROM"]
    assert not by_name(made, "121080")  # no overlay goes out: nothing refers to one


def test_text_report_says_everything():
    made = read(written()["text_report"])
    (found,), (draft,) = by_name(made, "121071"), by_name(made, "121073")
    assert str(found.TextValue).startswith(OPTIONS.label)
    assert str(draft.TextValue).startswith(OPTIONS.label)
    for word in ("Pneumonia: PRESENT", "71 %", "Nodule: UNDETERMINED", "effusion: absent",
                 "EXPLANATION NOT SHOWN: deletion 0.20", "2 of 2 checks", "Edad desconocida.",
                 "chest-vae 1.0.0"):  # fmt: skip
        assert word in str(found.TextValue)
    assert max(len(line) for line in str(found.TextValue).splitlines()) <= 90
    assert {concept(i) for i in found.ContentSequence} == {"121112", "121080"}
    for section in by_name(made, "121070"):
        assert all("ConceptNameCodeSequence" in item for item in section.ContentSequence)


def test_report_markup():
    """Markup in a description is text like any other: shown as it is, never interpreted."""
    evil = "<script>alert(1)</script> & <b>bold</b> | ^ \\ \x07\x1b[31m"
    image = source(StudyDescription="<img src=x onerror=1>")
    one = study(image)
    told = replace(
        full(one, image), notes=(evil,), impression=Impression("es", (Sentence(evil, ()),))
    )
    for report in write_all(told, one, OPTIONS, MADE_AT, BOTH):
        said = "\n".join(texts(read(report)))
        assert "<script>alert(1)</script> & <b>bold</b> | ^ \\" in said
        assert "\x07" not in said
        assert "\x1b" not in said


@pytest.mark.parametrize("language", ["en", "es"])
def test_refusal_gives_its_reason(language):
    image = source()
    one = study(image)
    options = replace(OPTIONS, language=language)
    (report,) = text_report.write(refused(one), one, options, MADE_AT)
    made = read(report)
    (found,) = by_name(made, "121071")
    word = {"en": "Not assessed because", "es": "No valorado porque"}[language]
    assert f"{word}: Es una proyección lateral." in str(found.TextValue)
    assert not by_name(made, "121072")
    assert coded_value(by_name(made, "121049")[0]) == language


@pytest.mark.parametrize("kind", BOTH)
def test_late_images_new_version_names_its_predecessor(kind: str):
    first = written()[kind]
    options = replace(
        OPTIONS,
        predecessors={kind: first.uid},
        predecessor_classes={kind: first.sop_class},
    )
    second = written(options=options)[kind]
    made, older = read(second), read(first)
    assert second.uid != first.uid
    (series,) = made.PredecessorDocumentsSequence[0].ReferencedSeriesSequence
    assert series.SeriesInstanceUID == older.SeriesInstanceUID
    (item,) = series.ReferencedSOPSequence
    assert item.ReferencedSOPInstanceUID == first.uid
    assert item.ReferencedSOPClassUID == first.sop_class
    assert made.PredecessorDocumentsSequence[0].StudyInstanceUID == made.StudyInstanceUID


def test_private_scheme_is_described():
    image = source()
    one = study(image)
    thick = Code("PLEURAL-THICK", "99DICTAMEN", "Pleural thickening")
    told = analysis(one, (finding(image, "pleural thickening", thick, State.ABSENT, 0.1),))
    (scheme,) = read(
        text_report.write(told, one, OPTIONS, MADE_AT)[0]
    ).CodingSchemeIdentificationSequence
    assert scheme.CodingSchemeDesignator == "99DICTAMEN"
    assert "CodingSchemeIdentificationSequence" not in read(written()["text_report"])


@pytest.mark.parametrize(
    ("probability", "shown"), [(0.7149, "71 %"), (0.999, ">99 %"), (0.001, "<1 %"), (0.5, "50 %")]
)
def test_no_certainty_is_said_as_none_or_all(probability: float, shown: str):
    image = source()
    one = study(image)
    told = analysis(one, (replace(present(image), probability=probability),))
    (report,) = text_report.write(told, one, OPTIONS, MADE_AT)
    assert f"certainty {shown}" in texts(read(report))[-2]


@pytest.mark.parametrize(
    ("probability", "threshold", "band", "said"),
    [
        pytest.param(
            0.4996, 0.5, (0.4996, 0.5), "49.96 %, threshold 50.00 %", id="just below, rounded up"
        ),
        pytest.param(0.503, 0.5, (0.4, 0.6), "50.3 %, threshold 50.0 %", id="just above"),
        pytest.param(0.71, 0.5, (0.4, 0.6), "71 %, threshold 50 %", id="far away"),
        pytest.param(0.5, 0.5, (0.4, 0.6), "50 %, threshold 50 %", id="on it"),
        pytest.param(
            0.7225,
            0.50287,
            (0.28194, 0.72269),
            "72.2 %, threshold 50 %, undetermined from 28 % to 72.3 %",
            id="within the band by a hair",
        ),
        pytest.param(0.996, 0.998, (0.99, 0.999), "99.6 %, threshold 99.8 %", id="both near all"),
        pytest.param(0.0004, 0.004, (0.004, 0.004), "<0.1 %, threshold 0.4 %", id="both near none"),
        pytest.param(0.9999, 0.5, (0.4, 0.6), ">99 %, threshold 50 %", id="near all alone"),
    ],
)
def test_no_number_hides_on_which_side_of_a_mark_it_lies(
    probability: float, threshold: float, band: tuple[float, float], said: str
):
    state = State.UNDETERMINED if band[0] <= probability < band[1] else State.PRESENT
    found = replace(
        present(source()), probability=probability, threshold=threshold, band=band, state=state
    )
    assert f"certainty {said}" in finding_line(found, OPTIONS)


@pytest.mark.parametrize(
    ("state", "probability", "told"),
    [
        pytest.param(State.UNDETERMINED, 0.5, True, id="within: the band says why"),
        pytest.param(State.UNDETERMINED, 0.83, False, id="two calibrations disagree"),
        pytest.param(State.PRESENT, 0.83, True, id="above"),
        pytest.param(State.PRESENT, 0.55, False, id="a model that looks at no band"),
    ],
)
def test_a_band_is_told_only_where_it_decided(state: State, probability: float, told: bool):
    found = replace(present(source()), probability=probability, state=state)
    assert ("undetermined from 40 % to 60 %" in finding_line(found, OPTIONS)) is told


def test_a_box_goes_out_in_points_that_no_viewer_takes_for_its_own():
    """A detector's box has five, and some viewers offer to make a measurement of it."""
    image = source()
    one = study(image)
    corners = ((10.0, 20.0), (40.0, 20.0), (40.0, 60.0), (10.0, 60.0), (10.0, 20.0))
    box = present(image, regions=(Region(str(image.SOPInstanceUID), corners, shows="extent"),))
    (report,) = structured_report.write(analysis(one, (box,)), one, OPTIONS, MADE_AT)
    (shape,) = [item for item in items(read(report)) if item.ValueType == "SCOORD"]
    drawn = list(zip(shape.GraphicData[::2], shape.GraphicData[1::2], strict=True))
    assert len(drawn) >= 7
    assert drawn[0] == drawn[-1]
    assert set(corners) <= set(drawn)
    assert all(x in (10, 40) or y in (20, 60) for x, y in drawn)  # on its edges, all of them


def test_frame_is_named_in_a_multi_frame_source():
    image = source(NumberOfFrames="3")
    one = study(image)
    spot = replace(region(image), frame=2)
    found: Finding = replace(present(image), frame=2, regions=(spot,))
    (report,) = structured_report.write(analysis(one, (found,)), one, OPTIONS, MADE_AT)
    (shape,) = [item for item in items(read(report)) if item.ValueType == "SCOORD"]
    assert shape.ContentSequence[0].ReferencedSOPSequence[0].ReferencedFrameNumber == 2
    (library,) = [item for item in items(read(report)) if item.RelationshipType == "CONTAINS"
                  and item.ValueType == "IMAGE"]  # fmt: skip
    assert "ReferencedFrameNumber" not in library.ReferencedSOPSequence[0]


def test_an_image_without_a_series_is_said_and_not_crashed_over():
    image = source(SeriesInstanceUID=None)
    one = study(image)
    with pytest.raises(ReportError, match="names no series"):
        write_all(full(one, image), one, OPTIONS, MADE_AT, KINDS)


def test_uid_of_the_report_is_derived():
    image = source()
    one = study(image)
    made: Report = structured_report.write(full(one, image), one, OPTIONS, MADE_AT)[0]
    key = uids.result_key(full(one, image), one, OPTIONS)
    assert made.uid == uids.instance_uid(key, "structured_report")
