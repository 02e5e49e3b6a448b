"""Draft sentences of coded findings: exact, both languages, never more than the findings hold."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import product
from typing import Any

import pytest

from processors.analysis import Finding, State
from processors.catalogue import shipped
from processors.impressions.coded import category, impression
from processors.impressions.grounding import STATES
from processors.impressions.labeller import read
from processors.runtime import open_bundle

NAMES = {"pneumonia": {"es": "neumonía", "en": "pneumonia"}}
BAND = (0.4, 0.6)


def _finding(state: State, probability: float, uid: str = "1.2", label: str = "pneumonia"):
    return Finding(label, uid, probability, 0.5, state, BAND)


@pytest.mark.parametrize(
    ("state", "language", "start", "criticality"),
    [
        pytest.param(State.PRESENT, "es", "Hallazgos en relación con neumonía (", "hours",
                     id="es +"),
        pytest.param(State.ABSENT, "es", "El modelo no encuentra signos", "routine", id="es -"),
        pytest.param(State.UNDETERMINED, "es", "Resultado indeterminado: posible presencia de "
                     "neumonía", "days", id="es ?"),
        pytest.param(State.PRESENT, "en", "Findings consistent with", "hours", id="en +"),
        pytest.param(State.ABSENT, "en", "The model finds no sign", "routine", id="en -"),
        pytest.param(State.UNDETERMINED, "en", "Undetermined: possible", "days", id="en ?"),
    ],
)  # fmt: skip
def test_sentences(state: State, language: str, start: str, criticality: str) -> None:
    draft = impression([_finding(state, 0.87)], NAMES, (), language)
    assert draft.sentences[0].text.startswith(start)
    assert "87" in draft.sentences[0].text
    assert draft.criticality == criticality
    assert draft.language == language
    assert all(s.findings == ("pneumonia",) and s.source == "rule" for s in draft.sentences)


def test_without_a_finding_there_is_nothing_but_notes() -> None:
    draft = impression([], NAMES, ("A note.",), "en")
    assert [sentence.text for sentence in draft.sentences] == ["A note."]


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
    assert draft.criticality == "days"
    assert impression([calm], NAMES, (), "en", [calm.label]).criticality == "routine"


def test_the_state_of_a_label_is_its_gravest() -> None:
    """Two calibrations: the less probable answer may be the graver."""
    weak, strong = _finding(State.PRESENT, 0.4), _finding(State.ABSENT, 0.45)
    assert "40" in impression([strong, weak], NAMES, (), "en").sentences[0].text


@pytest.mark.parametrize(
    ("name", "state", "expected"),
    [
        ("tension pneumothorax", State.PRESENT, 1),
        ("tension pneumothorax", State.UNDETERMINED, 1),  # hedging lowers no category 1
        ("free subdiaphragmatic air", State.PRESENT, 1),
        ("pneumothorax", State.PRESENT, 2),
        ("pneumothorax", State.UNDETERMINED, 3),
        ("pneumonia", State.PRESENT, 2),
        ("nodule", State.PRESENT, 3),
        ("glioma", State.PRESENT, 3),  # of no list: somebody must still look
        ("cardiomegaly", State.PRESENT, 0),
        ("support devices", State.PRESENT, 0),
        ("tension pneumothorax", State.ABSENT, 0),
    ],
)
def test_how_soon(name: str, state: State, expected: int) -> None:
    assert category(state, name) == expected


def test_the_most_urgent_stands_first_whatever_the_probability() -> None:
    labels = {"cardiomegaly": 0.99, "nodule": 0.9, "pneumothorax": 0.6, "free_air": 0.7}
    found = [_finding(State.PRESENT, p, label=label) for label, p in labels.items()]
    names = {"free_air": {"en": "free subdiaphragmatic air", "es": "aire subdiafragmático libre"}}
    draft = impression(found, names, ("A note.",), "es")
    assert [s.findings[0] for s in draft.sentences[:4]] == [
        "free_air", "pneumothorax", "nodule", "cardiomegaly",
    ]  # fmt: skip
    assert [s.category for s in draft.sentences] == [1, 2, 3, 0, 0, 0]
    assert draft.criticality == "minutes"


# ---- every label that is shipped, each state, one image and several ------------------------------
def shipped_labels() -> list[tuple[str, dict[str, Any]]]:
    return [
        (entry["name"], label)
        for entry in shipped()
        for label in open_bundle(entry["name"], "cpu").card["labels"]
    ]


def table(language: str) -> list[tuple[str, State, int, str]]:
    """Bundle and label, state, images, sentence."""
    rows = []
    for (bundle, entry), state, images in product(shipped_labels(), State, (1, 3)):
        found = [_finding(state, 0.61, str(n), entry["label"]) for n in range(images)]
        draft = impression(found, {entry["label"]: entry["name"]}, (), language)
        rows.append((f"{bundle}/{entry['label']}", state, images, draft.text))
    return rows


@pytest.mark.parametrize("language", ["en", "es"])
def test_each_sentence_reads_back_as_its_finding(language: str) -> None:
    """The labeller reads the finding's state, and nothing else, in sentence and limits."""
    rows = table(language)
    print("", *(f"{label} {state} {n}: {text}" for label, state, n, text in rows), sep="\n")
    known = 0
    for label, state, _, text in rows:
        states = {mention.state for mention in read(text, language)}
        assert states <= {STATES[state]}, (label, text)
        known += bool(states)
        assert text == re.sub(r"\s+", " ", text).strip()
        assert "{" not in text
    assert known >= len(rows) / 2  # glioma and meningioma stand in no list of chest findings
