"""result.json: the contract for scripts, and its schema."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib import resources

import pytest
from jsonschema import Draft202012Validator
from report_cases import (
    ALGORITHM,
    KINDS,
    MADE_AT,
    OPTIONS,
    absent,
    analysis,
    full,
    refused,
    source,
    study,
)

from processors.analysis import Analysis, Check, Impression, Sentence, Status
from reports import write_all
from reports.result import result, unpicked

SCHEMA = json.loads(resources.files("reports").joinpath("result.schema.json").read_text())
IMAGE = source()
STUDY = study(IMAGE)


def test_schema_is_sound():
    Draft202012Validator.check_schema(SCHEMA)


CASES = {
    "full": full(STUDY, IMAGE),
    "absent": analysis(STUDY, (absent(IMAGE),)),
    "anatomy": analysis(STUDY, (replace(absent(IMAGE), anatomy=True),)),
    "no impression": analysis(STUDY, (absent(IMAGE),), impression=None),
    "critical": replace(
        full(STUDY, IMAGE),
        impression=Impression("es", (Sentence("Aire.", (), category=1),), "minutes"),
        patient_summary="Borrador.",
    ),
    "unsuitable": refused(STUDY),
    "failed": Analysis(STUDY.uid, "chest", ALGORITHM, Status.FAILED, "timed out"),
}


@pytest.mark.parametrize("told", CASES.values(), ids=CASES)
def test_valid(told: Analysis):
    reports = write_all(told, STUDY, OPTIONS, MADE_AT, KINDS)
    files = {report.uid: f"{report.kind}-{report.index}" for report in reports}
    made = result(told, reports, files)
    text = json.dumps(made, allow_nan=False, ensure_ascii=False)
    Draft202012Validator(SCHEMA).validate(json.loads(text))
    assert [entry["file"] for entry in made["reports"]] == list(files.values())
    assert "Ibáñez" not in text
    assert "HC-0042" not in text


def test_unpicked():
    made = unpicked(STUDY.uid, "No rule fits.")
    Draft202012Validator(SCHEMA).validate(made)
    assert made["processor"] is None


def test_not_a_number_is_null():
    told = CASES["full"]
    odd = Check("odd", float("nan"), float("inf"))
    explanation = replace(told.explanations[0], faithfulness=(odd,))
    told = replace(told, explanations=(explanation,), timings_ms={"x": float("nan"), "y": 2.0})
    made = result(told)
    assert json.dumps(made, allow_nan=False)
    assert made["timings_ms"] == {"x": None, "y": 2.0}
    Draft202012Validator(SCHEMA).validate(made)


@pytest.mark.parametrize(
    "change",
    [
        {"status": "completed", "reason": "because"},
        {"status": "failed", "reason": ""},
        {"status": "done"},
        {"extra": 1},
        {"processor": None},
        {"findings": [{}]},
    ],
    ids=str,
)
def test_schema_refuses(change: dict):
    made = result(CASES["full"]) | change
    assert not Draft202012Validator(SCHEMA).is_valid(made)
