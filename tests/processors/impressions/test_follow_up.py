"""From a findings text to a row of the table, or to the reason why not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from processors.analysis import Refusal
from processors.impressions.fleischner import FollowUp, Kind
from processors.impressions.follow_up import Patient, nodule, proposal

KNOWN = Patient("CT", 60, high_risk=False, cancer=False, immunosuppression=False, screening=False)


@pytest.mark.parametrize(
    ("text", "language", "axes", "kind", "several"),
    [
        ("Solid 9 x 7 mm nodule.", "en", (9.0, 7.0), Kind.SOLID, False),
        ("An 0.8 cm ground glass nodule.", "en", (8.0,), Kind.GROUND_GLASS, False),
        ("Part-solid nodule of 8 mm.", "en", (8.0,), Kind.PART_SOLID, False),
        ("Multiple solid nodules up to 5 mm.", "en", (5.0,), Kind.SOLID, True),
        ("Subsolid nodule of 8 mm.", "en", (8.0,), None, False),
        ("Nodule of 4-6 mm.", "en", None, None, False),  # a range is no measurement
        ("A 12 mm part-solid nodule with a 4 mm solid component.", "en", None,
         Kind.PART_SOLID, False),
        ("Solid 8 mm nodule. Another nodule in the lingula.", "en", (8.0,), Kind.SOLID, None),
        ("Nódulo sólido de 9 por 7 mm.", "es", (9.0, 7.0), Kind.SOLID, False),
        ("Nódulo en vidrio deslustrado de 8 mm.", "es", (8.0,), Kind.GROUND_GLASS, False),
        ("Nódulo parcialmente sólido de 8 mm.", "es", (8.0,), Kind.PART_SOLID, False),
        ("Múltiples nódulos sólidos, de hasta 5 mm.", "es", (5.0,), Kind.SOLID, True),
    ],
)  # fmt: skip
def test_what_a_text_says_of_its_nodule(
    text: str,
    language: str,
    axes: tuple[float, ...] | None,
    kind: Kind | None,
    several: bool | None,
) -> None:
    found = nodule(text, KNOWN, language)
    assert found is not None
    assert (found.axes, found.kind, found.several) == (axes, kind, several)


@pytest.mark.parametrize(
    ("text", "language", "said", "row"),
    [
        ("Solid 9 x 7 mm nodule.", "en", "CT at 6-12 months",
         "Fleischner Society 2017, Table 1 A, solid, single, low risk, 6-8 mm"),
        ("Nódulo sólido de 9 x 7 mm.", "es", "TC a los 6-12 meses",
         "Sociedad Fleischner 2017, tabla 1 A, sólido, único, riesgo bajo, 6-8 mm"),
    ],
)  # fmt: skip
def test_table_and_row_are_quoted(text: str, language: str, said: str, row: str) -> None:
    found = proposal(text, KNOWN, language)
    assert isinstance(found, FollowUp)
    assert found.text.startswith(said)
    assert found.source == row


@pytest.mark.parametrize(
    ("text", "patient", "kind", "said"),
    [
        ("Solid 8 mm nodule.", replace(KNOWN, modality="DX"), "modality", "measured on CT"),
        ("Solid 8 mm nodule.", replace(KNOWN, age=30), "age", "younger than 35"),
        ("Solid 8 mm nodule.", replace(KNOWN, cancer=True), "cancer", "known primary cancer"),
        ("Solid 8 mm nodule.", replace(KNOWN, screening=True), "screening", "screening"),
        ("Solid calcified 8 mm nodule.", KNOWN, "benign", "calcified"),
        ("Solid perifissural nodule, 8 mm.", KNOWN, "benign", "Perifissural"),
        ("Nodule of 8 mm.", KNOWN, "missing", "solid or subsolid"),
        ("Solid nodule.", KNOWN, "missing", "size"),
        ("Solid 8 mm nodule.", Patient(), "missing", "modality"),
    ],
)
def test_refusals_say_why(text: str, patient: Patient, kind: str, said: str) -> None:
    found = proposal(text, patient, "en")
    assert isinstance(found, Refusal)
    assert found.kind == kind
    assert said in found.reason


@pytest.mark.parametrize("text", ["No nodule.", "Clear lungs.", "History of a solid 8 mm nodule."])
def test_no_nodule_no_follow_up(text: str) -> None:
    assert proposal(text, KNOWN, "en") is None
