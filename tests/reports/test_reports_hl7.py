"""The HL7 message: structure, escapes, statuses, numbers of order and patient."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hl7apy.parser import parse_message
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from report_cases import (
    MADE_AT,
    OPTIONS,
    RIS,
    absent,
    analysis,
    full,
    present,
    refused,
    segments,
    source,
    study,
    undetermined,
    written,
)

from processors.analysis import Code, Impression, Sentence
from reports import Receiver, Report, hl7_oru, hl7_text, identity, uids
from reports.wording import exact, not_assessed, words

DANGEROUS = "a|b^c&d~e\\f\rg\nh\x0bi\x1cj\x1c\rk <b>ñ</b> \\X0D\\ \\.br\\"


def message(header: Dataset | None = None, options: Any = OPTIONS, **more: Any) -> list[list[str]]:
    return segments(written(header, options, **more)["hl7_oru"])


def field(rows: list[list[str]], name: str, number: int) -> str:
    row = next(row for row in rows if row[0] == name)
    place = number - 1 if name == "MSH" else number
    return row[place] if place < len(row) else ""


def observations(rows: list[list[str]]) -> list[list[str]]:
    return [row + [""] * (20 - len(row)) for row in rows if row[0] == "OBX"]


def drafted(text: str, header: Dataset | None = None) -> Report:
    image = header or source()
    one = study(image)
    said = full(one, image)
    draft = Impression("es", (Sentence(text, ()),))
    told = replace(said, impression=draft, notes=(text,) if text.strip() else ())
    return hl7_oru.write(told, one, OPTIONS, MADE_AT)[0]


def test_mllp_escape():
    plain, dangerous = drafted("harmless"), drafted(DANGEROUS)
    names = [row[0] for row in segments(plain)]
    assert b"\x0b" not in dangerous.payload
    assert b"\x1c" not in dangerous.payload
    assert b"\n" not in dangerous.payload
    grown = [row for row in observations(segments(dangerous)) if row[3].startswith("19005-8")]
    assert len(grown) > 1  # one OBX for each line of the text
    assert set(names) == {row[0] for row in segments(dangerous)}
    said = " ".join(hl7_text.unescape(row[5]) for row in grown)
    assert said == " ".join(DANGEROUS.replace("\x0b", " ").replace("\x1c", " ").split())
    for row in observations(segments(dangerous)):
        assert len(row) == 20  # no field more than HL7 has
    parse_message(dangerous.payload.decode(), find_groups=True).validate()


@given(st.text(min_size=1, max_size=60))
@settings(max_examples=300, deadline=None)
def test_mllp_escape_round_trip(text: str):
    escaped = hl7_text.escape(text)
    assert not set("|^&~\r\n\x0b\x1c") & set(escaped)
    assert hl7_text.unescape(escaped) == hl7_text._CONTROL.sub(" ", text).strip()


@given(st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S"]), max_size=40))
@settings(max_examples=25, deadline=None)
def test_mllp_escape_keeps_the_number_of_segments(text: str):
    count = len(segments(drafted("x" + text)))
    assert count == len(segments(drafted("harmless")))


def test_blank_accession():
    rows = message(AccessionNumber="")
    filler = field(rows, "OBR", 3)
    assert field(rows, "OBR", 18) == ""
    assert filler == field(rows, "ORC", 3) == uids.filler_number(source().StudyInstanceUID)
    assert len(filler) == 22
    pointer = next(row for row in observations(rows) if row[3].startswith("113014"))
    assert pointer[5] == source().StudyInstanceUID
    for kind in ("overlay", "structured_report", "text_report"):
        assert kind in written(AccessionNumber="")


def request(**attributes: Any) -> list[Dataset]:
    item = Dataset()
    for keyword, value in attributes.items():
        setattr(item, keyword, value)
    return [item]


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        pytest.param({}, {2: "", 3: "ACC-77", 18: "ACC-77", 19: "", 20: ""}, id="accession"),
        pytest.param(
            {"RequestAttributesSequence": request(
                PlacerOrderNumberImagingServiceRequest="P^1",
                FillerOrderNumberImagingServiceRequest="F2",
                RequestedProcedureID="RP3", ScheduledProcedureStepID="SPS4")},
            {2: "P\\S\\1", 3: "F2", 18: "ACC-77", 19: "RP3", 20: "SPS4"}, id="one request"),
        pytest.param(
            {"RequestAttributesSequence": request(RequestedProcedureID="A")
             + request(RequestedProcedureID="B")},
            {2: "", 3: "ACC-77", 19: ""}, id="two requests: of neither"),
    ],
)  # fmt: skip
def test_order_numbers(more: dict[str, Any], expected: dict[int, str]):
    rows = message(**more)
    assert {number: field(rows, "OBR", number) for number in expected} == expected
    assert field(rows, "ORC", 2) == field(rows, "OBR", 2)
    assert field(rows, "ORC", 3) == field(rows, "OBR", 3)


def test_the_procedure_is_the_study_s_own_with_its_accents():
    own = request(
        CodeValue="RX7", CodingSchemeDesignator="99RIS", CodeMeaning="Radiografía de tórax"
    )
    for more in (
        {"ProcedureCodeSequence": own},
        {"RequestAttributesSequence": request(RequestedProcedureCodeSequence=own)},
    ):
        assert field(message(**more), "OBR", 4) == "RX7^Radiografía de tórax^99RIS"


@pytest.mark.filterwarnings("ignore:Invalid value for VR DT")
@pytest.mark.parametrize(
    ("stated", "when"),
    [
        ("20260101101530", "20260101101530"),
        ("20260101101530.123456+0100", "20260101101530+0100"),
        ("202601", "202601"),
        ("2026-01-01T10:15", "20261120090807"),
        ("20260101^~&x|y", "20261120090807"),
        (None, "20261120090807"),
    ],
)
def test_when_the_pictures_were_made(stated: str | None, when: str):
    more = {"AcquisitionDateTime": stated} if stated else {}
    assert field(message(**more), "OBR", 7) == when


@pytest.mark.parametrize(
    ("more", "issuer", "cx"),
    [
        ({}, None, "HC-0042^^^CLINICA SUR^MR"),
        ({}, "CONFIGURED", "HC-0042^^^CLINICA SUR^MR"),
        ({"IssuerOfPatientID": None}, "CONFIGURED", "HC-0042^^^CONFIGURED^MR"),
        ({"IssuerOfPatientID": None}, None, "HC-0042^^^UNKNOWN^MR"),
        ({"PatientID": "A^B&C"}, None, "A\\S\\B\\T\\C^^^CLINICA SUR^MR"),
    ],
)
def test_patient_number(more: dict[str, Any], issuer: str | None, cx: str):
    assert field(message(options=replace(OPTIONS, issuer=issuer), **more), "PID", 3) == cx


def test_patient_and_head():
    rows = message()
    assert field(rows, "PID", 5) == "Ibáñez^María José^^II^Dra.^^L^A"
    assert field(rows, "PID", 7) == "19650304"
    assert field(rows, "PID", 8) == "F"
    assert field(rows, "MSH", 7) == field(rows, "OBR", 22) == "20261120101530+0000"
    assert field(rows, "MSH", 9) == "ORU^R01^ORU_R01"
    assert field(rows, "MSH", 11) == "T"
    assert (field(rows, "MSH", 15), field(rows, "MSH", 16)) == ("", "")
    assert field(rows, "MSH", 18) == "UNICODE UTF-8"
    assert field(rows, "OBR", 7) == "20261120090807"
    assert (field(rows, "OBR", 24), field(rows, "OBR", 32)) == ("RAD", "")


@pytest.mark.parametrize("sex", ["", "X"])
def test_unknown_sex(sex: str):
    assert field(message(PatientSex=sex), "PID", 8) == "U"


def test_nothing_is_final_and_types_fit():
    rows = message()
    assert field(rows, "OBR", 25) == "P"
    for row in observations(rows):
        assert row[11] == ("O" if row[3].startswith("113014") else "P")
        assert row[2] in ("ST", "CE", "NM", "TX")
        assert row[2] != "NM" or float(row[5]) >= 0
        assert row[15] == row[16] == ""
        assert '""' not in row
    numbers = [row[1] for row in observations(rows)]
    assert numbers == [str(n) for n in range(1, len(numbers) + 1)]


def test_states_and_abnormal_flags():
    found = {row[3].split("^")[1]: row for row in observations(message()) if row[2] == "CE"}
    assert {name: (row[5].split("^")[1], row[8]) for name, row in found.items()} == {
        "Pneumonia": ("Present", "A"),
        "Nodule": ("Undetermined", ""),
        "Pleural effusion": ("Absent", "N"),
    }
    certainty = {row[4]: row[5] for row in observations(message()) if row[2] == "NM"}
    assert [certainty[row[4]] for row in found.values()] == ["71.0", "47.0", "6.0"]


@pytest.mark.parametrize("of", [present, absent])
def test_a_part_of_the_body_is_neither_normal_nor_abnormal(of: Any):
    header = source()
    spleen = Code("78961009", "SCT", "Spleen")
    told = analysis(study(header), (replace(of(header), code=spleen, anatomy=True),))
    rows = segments(hl7_oru.write(told, study(header), OPTIONS, MADE_AT)[0])
    assert [row[8] for row in observations(rows) if row[2] == "CE"] == [""]


def test_label_and_reasons_in_notes():
    rows = message()
    notes = [row[3] for row in rows if row[0] == "NTE"]
    assert notes[0] == notes[-1] == OPTIONS.label
    assert "Edad desconocida." in notes
    assert any("undetermined" in note for note in notes)
    assert any(note.startswith("EXPLANATION NOT SHOWN") for note in notes)
    at = next(n for n, row in enumerate(rows) if row[0] == "OBR")
    assert rows[at + 1][:2] == ["NTE", "1"]


def test_a_null_of_the_worklist_deletes_nothing_at_the_ris():
    """`""` in an HL7 field means: delete what you have (2.5.3); scanners hand it on."""
    null = '""'
    image = source(AccessionNumber=null, PatientName=f"Ruiz^{null}", AdmissionID=null)
    (report,) = hl7_oru.write(full(study(image), image), study(image), OPTIONS, MADE_AT)
    assert null not in report.payload.decode()
    rows = segments(report)
    assert field(rows, "OBR", 3).startswith("ST")
    assert field(rows, "ORC", 3) == field(rows, "OBR", 3)
    assert identity.matches(report.payload, "hl7_oru", identity.of(image)) == ()
    for issuer, sent in ((null, "UNKNOWN"), ("LAB", "LAB")):
        image = source(IssuerOfPatientID=issuer)
        (report,) = hl7_oru.write(full(study(image), image), study(image), OPTIONS, MADE_AT)
        assert field(segments(report), "PID", 3).split("^")[3].split("&")[0] == sent
        assert identity.matches(report.payload, "hl7_oru", identity.of(image)) == ()
    nobody = source(PatientID=null)
    assert hl7_oru.write(full(study(nobody), nobody), study(nobody), OPTIONS, MADE_AT) == ()


@pytest.mark.parametrize("key", ["hl7_oru", "hl7_oru:ris"])
def test_late_images_name_the_predecessor_in_a_note(key: str):
    older = written()["hl7_oru"]
    rows = message(options=replace(OPTIONS, predecessors={key: older.uid}))
    assert any(older.uid in row[3] for row in rows if row[0] == "NTE")
    assert field(rows, "MSH", 10) != older.uid
    assert field(rows, "OBR", 25) == "P"


def test_late_images_name_each_receiver_its_own_predecessor():
    receivers = (RIS, Receiver("emr", "EMR", "EAST", "D"))
    older = {"hl7_oru": "NOT-YOURS", "hl7_oru:emr": "YOURS"}
    image = source()
    one = study(image)
    options = replace(OPTIONS, receivers=receivers, predecessors=older)
    ris, emr = hl7_oru.write(full(one, image), one, options, MADE_AT)
    assert b"YOURS" not in ris.payload
    assert b"earlier preliminary result YOURS" in emr.payload
    assert b"NOT-YOURS" not in emr.payload


def test_one_message_for_each_receiver():
    image = source()
    one = study(image)
    options = replace(OPTIONS, receivers=(RIS, Receiver("emr", "EMR", "EAST", "D")))
    reports = hl7_oru.write(full(one, image), one, options, MADE_AT)
    assert [(r.destination, r.index) for r in reports] == [("ris", 0), ("emr", 1)]
    assert len({r.uid for r in reports}) == 2
    assert all(len(r.uid) == 20 for r in reports)
    heads = [segments(report)[0] for report in reports]
    assert [head[4:6] for head in heads] == [["RIS", "HOSPITAL"], ["EMR", "EAST"]]


def test_refusal_says_why_and_stays_preliminary():
    image = source()
    one = study(image)
    rows = segments(hl7_oru.write(refused(one), one, OPTIONS, MADE_AT)[0])
    said = [row[5] for row in observations(rows) if row[2] == "TX"]
    assert said == ["Not assessed because: Es una proyección lateral."]
    assert field(rows, "OBR", 25) == "P"


def test_uncoded_finding_is_text_only():
    image = source()
    one = study(image)
    told = analysis(one, (present(image, code=None), undetermined(image), absent(image)))
    rows = segments(hl7_oru.write(told, one, OPTIONS, MADE_AT)[0])
    coded = [row[3].split("^")[1] for row in observations(rows) if row[2] == "CE"]
    assert coded == ["Nodule", "Pleural effusion"]
    assert any(row[5].startswith("Pneumonia: PRESENT") for row in observations(rows))


def test_long_text_is_split():
    report = drafted("palabra ñ " * 2000)
    rows = [row for row in observations(segments(report)) if row[3].startswith("19005-8")]
    assert len(rows) > 1
    assert all(len(row[5].encode()) < 8000 for row in rows)


def test_without_patient_id_no_message():
    assert "hl7_oru" not in written(PatientID="")


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("Es una proyección lateral.", "No valorado porque: Es una proyección lateral."),
        ("No valorado porque no es frontal.", "No valorado porque no es frontal."),
        ("Not assessed because it is blank.", "Not assessed because it is blank."),
    ],
)
def test_why_it_was_not_assessed_is_said_once(reason: str, said: str):
    assert not_assessed(reason, words("es")) == said


@pytest.mark.parametrize(("value", "shown"), [(0.99999, 99.9), (0.0001, 0.1), (0.7129, 71.3)])
def test_a_coded_certainty_is_never_0_or_100(value: float, shown: float):
    assert exact(value) == shown
