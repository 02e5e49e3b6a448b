"""Draft sentences: exact, in both languages, never more than the findings hold."""

from __future__ import annotations

from dataclasses import replace

import pytest

from processors.analysis import Finding, State
from processors.impression_rules import impression

NAMES = {"pneumonia": {"es": "neumonía", "en": "pneumonia"}}
BAND = (0.4, 0.6)


def _finding(state: State, probability: float, uid: str = "1.2") -> Finding:
    return Finding("pneumonia", uid, probability, 0.5, state, BAND)


@pytest.mark.parametrize(
    ("state", "language", "start", "criticality"),
    [
        pytest.param(State.PRESENT, "es", "Signos compatibles con neumonía", "urgent", id="es +"),
        pytest.param(State.ABSENT, "es", "El modelo no encuentra signos", "routine", id="es -"),
        pytest.param(State.UNDETERMINED, "es", "Indeterminado para", "routine", id="es ?"),
        pytest.param(State.PRESENT, "en", "Findings consistent with", "urgent", id="en +"),
        pytest.param(State.ABSENT, "en", "The model finds no sign", "routine", id="en -"),
        pytest.param(State.UNDETERMINED, "en", "Indeterminate for", "routine", id="en ?"),
    ],
)
def test_sentences(state: State, language: str, start: str, criticality: str) -> None:
    draft = impression([_finding(state, 0.87)], NAMES, (), language)
    assert draft.sentences[0].text.startswith(start)
    assert "87" in draft.sentences[0].text
    assert draft.criticality == criticality
    assert draft.language == language
    assert all(s.findings == ("pneumonia",) and s.source == "rule" for s in draft.sentences)


def test_the_worst_film_speaks_for_the_study() -> None:
    films = [_finding(State.ABSENT, 0.1, "1"), _finding(State.PRESENT, 0.9, "2")]
    assert "90" in impression(films, NAMES, (), "en").sentences[0].text


def test_notes_are_part_of_the_draft() -> None:
    draft = impression([_finding(State.ABSENT, 0.1)], NAMES, ("Age unknown.",), "en")
    assert draft.sentences[-1].text == "Age unknown."


@pytest.mark.parametrize(("probability", "shown"), [(0.9999, "99"), (0.0001, "1")])
def test_never_certain(probability: float, shown: str) -> None:
    state = State.PRESENT if probability > 0.5 else State.ABSENT
    text = impression([_finding(state, probability)], NAMES, (), "en").sentences[0].text
    assert f"{shown}%" in text


def test_what_is_no_reason_to_hurry_stands_behind() -> None:
    calm, other = _finding(State.PRESENT, 0.9), replace(_finding(State.PRESENT, 0.3), label="mass")
    draft = impression([calm, other], NAMES, (), "en", [calm.label])
    assert draft.sentences[0].findings == ("mass",)
    assert draft.criticality == "urgent"
    assert impression([calm], NAMES, (), "en", [calm.label]).criticality == "routine"


def test_the_state_of_a_label_is_its_gravest() -> None:
    """Two calibrations: the less probable answer may be the graver."""
    weak, strong = _finding(State.PRESENT, 0.4), _finding(State.ABSENT, 0.45)
    assert "40" in impression([strong, weak], NAMES, (), "en").sentences[0].text
