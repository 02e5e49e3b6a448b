"""The grammar of `when:` as a table: rule, headers, answer."""

from __future__ import annotations

import pytest

from dicom_node import rules

CHEST = {"Modality": "DX", "BodyPartExamined": "CHEST", "PatientAge": "034Y"}


@pytest.mark.parametrize(
    ("when", "headers", "holds"),
    [
        pytest.param({"Modality": "DX"}, CHEST, True, id="equal"),
        pytest.param({"Modality": "dx"}, CHEST, True, id="equal without regard to case"),
        pytest.param({"Modality": ["CR", "DX"]}, CHEST, True, id="any of"),
        pytest.param({"Modality": ["CR", "MG"]}, CHEST, False, id="none of"),
        pytest.param(
            {"BodyPartExamined": ["CHEST", None]}, {"Modality": "DX"}, True, id="or absent"
        ),
        pytest.param(
            {"BodyPartExamined": None}, {"BodyPartExamined": " "}, True, id="blank is empty"
        ),
        pytest.param({"BodyPartExamined": None}, CHEST, False, id="present is not empty"),
        pytest.param({"PatientAge": {"min": 18}}, CHEST, True, id="age in years"),
        pytest.param(
            {"PatientAge": {"min": 18}}, {"PatientAge": "018M"}, False, id="age in months"
        ),
        pytest.param(
            {"PatientAge": {"max": 5}}, {"PatientAge": "018M"}, True, id="18 months < 5 y"
        ),
        pytest.param({"PatientAge": {"min": 18}}, {}, False, id="no value is in no range"),
        pytest.param({"Rows": {"min": 512, "max": 4096}}, {"Rows": 2048}, True, id="number range"),
        pytest.param(
            {"StudyDescription": {"like": "*torax*"}},
            {"StudyDescription": "RX TORAX PA"},
            True,
            id="pattern",
        ),
        pytest.param(
            {"StudyDescription": {"like": "*torax*"}}, {}, False, id="pattern needs a text"
        ),
        pytest.param(
            {"ViewPosition": {"not": "LL"}}, {"ViewPosition": "PA"}, True, id="not a value"
        ),
        pytest.param(
            {"ViewPosition": {"not": ["LL", "RL"]}}, {"ViewPosition": "RL"}, False, id="not one of"
        ),
        pytest.param(
            {"ImageType": "PRIMARY"},
            {"ImageType": ["DERIVED", "PRIMARY"]},
            True,
            id="any value of a multi-valued element",
        ),
        pytest.param(
            {"ImageType": {"not": "DERIVED"}},
            {"ImageType": ["DERIVED", "PRIMARY"]},
            False,
            id="not holds for all its values",
        ),
        pytest.param({"not": {"Modality": "CT"}}, CHEST, True, id="not a rule"),
        pytest.param(
            {"any": [{"Modality": "CT"}, {"BodyPartExamined": "CHEST"}]},
            CHEST,
            True,
            id="any of rules",
        ),
        pytest.param(
            {"all": [{"Modality": "DX"}, {"BodyPartExamined": "KNEE"}]},
            CHEST,
            False,
            id="all of rules",
        ),
        pytest.param({"CallingAETitle": "PACS"}, {"CallingAETitle": "PACS"}, True, id="calling AE"),
        pytest.param({"PatientSex": "NO"}, {"PatientSex": "NO"}, True, id="NO is a text"),
    ],
)
def test_ask(when, headers, holds):
    assert rules.parse(when).ask(headers).holds is holds


@pytest.mark.parametrize(
    ("when", "words"),
    [
        pytest.param({"Modalty": "CR"}, "did you mean Modality", id="misspelt keyword"),
        pytest.param({"Modality": []}, "an empty list", id="empty list"),
        pytest.param({"PatientAge": {"min": 9, "max": 1}}, "lies above", id="range upside down"),
        pytest.param({"PatientAge": {"min": "9"}}, "are numbers", id="range of texts"),
        pytest.param({"PatientAge": {"least": 9}}, "write {min:", id="unknown condition"),
        pytest.param({"any": {"Modality": "CR"}}, "takes a list", id="any of a mapping"),
        pytest.param({}, "every instance", id="empty rule"),
    ],
)
def test_faults_say_what_to_write(when, words):
    assert any(words in message for _, message in rules.faults(when))


def test_all_faults_at_once():
    found = rules.faults({"Modalty": "CR", "PatientAge": {"least": 1}})
    assert [path for path, _ in found] == [("Modalty",), ("PatientAge",)]


def test_the_reason_names_value_and_wish():
    answer = rules.parse({"Modality": ["CR", "DX"]}).ask({"Modality": "CT"})
    assert answer.why == "Modality is CT, wanted CR or DX"


def test_no_rule_is_evaluated_as_code():
    rule = rules.parse({"StudyDescription": "__import__('os').abort()"})
    assert not rule.ask({"StudyDescription": "x"}).holds


@pytest.mark.parametrize(
    ("when", "headers", "shown"),
    [
        pytest.param({"PatientName": {"like": "TEST*"}}, {"PatientName": "X^Y"}, False, id="name"),
        pytest.param({"PatientID": "1"}, {"PatientID": "4711"}, False, id="number"),
        pytest.param({"AccessionNumber": "1"}, {"AccessionNumber": "A47"}, False, id="accession"),
        pytest.param({"PatientAge": {"min": 18}}, {"PatientAge": "004Y"}, True, id="age"),
        pytest.param({"Modality": "CT"}, {"Modality": "MR"}, True, id="modality"),
    ],
)
def test_phi_in_logs_a_reason_never_tells_who_the_patient_is(when, headers, shown):
    (value,) = headers.values()
    assert (value in rules.parse(when).ask(headers).why) is shown


def test_the_reason_speaks_the_language_of_the_node():
    answer = rules.parse({"Modality": ["CR", None]}).ask({"Modality": "CT"}, "es")
    assert answer.why == "Modality es CT, se pide CR o vacío"
