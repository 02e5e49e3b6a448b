"""Mending: one case a repair in both languages, and what holds for every draft whatever it says."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from processors.analysis import Finding, Sentence, State
from processors.impressions.assertion import ASSERTED, Assertion
from processors.impressions.criticality import in_order
from processors.impressions.drafting import Request
from processors.impressions.grounding import check, coded
from processors.impressions.labeller import read
from processors.impressions.lexicon import concepts, table
from processors.impressions.mending import Mended, mend

PLANTED_ES = Path(__file__).with_name("planted_es.jsonl")


def mended(draft: str, findings: str, language: str = "en") -> list[tuple[str, str]]:
    told = mend([Sentence(draft, (), "nearest")], Request(findings, language))
    return [(sentence.text, sentence.source) for sentence in told.sentences]


@pytest.mark.parametrize(
    ("language", "findings", "draft", "text"),
    [
        # side
        ("en", "Small right effusion.", "Small left effusion.", "Small right effusion."),
        ("en", "Right effusion.", "LLL opacity. Right effusion.", "Right effusion."),
        ("en", "Nodule in the RUL.", "Nodule in the LUL.", "Nodule in the RUL."),
        ("en", "Pleural effusion.", "Left pleural effusion.", "Pleural effusion."),
        ("es", "Derrame derecho.", "Derrame izquierdo.", "Derrame derecho."),
        ("es", "Nódulo en LSD.", "Nódulo en LSI.", "Nódulo en LSD."),
        # degree: the findings' word where it agrees, else none
        ("en", "Mild cardiomegaly.", "Severe cardiomegaly.", "Mild cardiomegaly."),
        ("en", "The heart is mildly enlarged.", "Severe cardiomegaly.", "Cardiomegaly."),
        ("es", "Cardiomegalia leve.", "Cardiomegalia severa.", "Cardiomegalia leve."),
        ("es", "Derrame de pequeña cuantía.", "Gran derrame.", "Derrame."),
        # number
        ("en", "8 mm nodule.", "12 mm nodule.", "8 mm nodule."),
        ("en", "Sixth rib fracture.", "Ninth rib fracture.", "Sixth rib fracture."),
        ("es", "Aplastamiento de D8.", "Aplastamiento de D11.", "Aplastamiento de D8."),
        # hedge
        ("en", "Possible left effusion.", "Left effusion.", "Possible left effusion."),
        ("en", "Opacity, may be edema.", "Opacity, edema.", "Opacity, possible edema."),
        ("en", "It may represent edema.", "It represents edema.", "It may represent edema."),
        ("en", "Suspected CHF.", "CHF.", "Possible CHF."),
        ("es", "Posible neumonía.", "Neumonía.", "Posible neumonía."),
        ("es", "Dudosas adenopatías.", "Adenopatías.", "Posibles adenopatías."),
        # what the findings do not hold is cut off
        ("en", "Left opacity.", "Left opacity, may represent edema.", "Left opacity."),
        ("en", "Left opacity.", "Left opacity with effusion and edema.", "Left opacity."),
        ("es", "Cardiomegalia.", "Cardiomegalia con edema.", "Cardiomegalia."),
        # a claim of time
        ("en", "Rib fracture.", "Acute rib fracture.", "Rib fracture."),
    ],
)
def test_one_fault_is_repaired(language: str, findings: str, draft: str, text: str) -> None:
    assert mended(draft, findings, language) == [(text, "nearest")]


@pytest.mark.parametrize(
    ("language", "findings", "draft", "sentences"),
    [
        # replaced
        ("en", "No pneumothorax.", "Left pneumothorax.", ["No pneumothorax."]),
        ("en", "Mild cardiomegaly.", "No cardiomegaly.", ["Mild cardiomegaly."]),
        ("en", "8 mm left nodule.", "12 mm right nodule.", ["8 mm left nodule."]),
        ("en", "Edema or pneumonia.", "Possible pneumonia.", ["Edema or pneumonia."]),
        ("es", "Múltiples nódulos.", "Nódulo único.", ["Múltiples nódulos."]),
        # what is said of one side says nothing of the other
        ("en", "Left opacity.", "The right lung is clear.", ["Left opacity."]),
        # taken out
        ("en", "Scoliosis.", "Scoliosis. Edema.", ["Scoliosis."]),
        ("es", "Escoliosis.", "Edema. Escoliosis.", ["Escoliosis."]),
        # added, most urgent first
        ("en", "Bulla. Tension pneumothorax.", "Bulla.", ["Tension pneumothorax.", "Bulla."]),
        ("en", "Old fracture.", "No acute disease.", ["No acute disease.", "Old fracture."]),
        ("es", "Masa en LSD. Escoliosis.", "Escoliosis.", ["Masa en LSD.", "Escoliosis."]),
        # an all-clear does not stand beside what cannot wait
        ("en", "Large right pneumothorax.", "No acute disease.", ["Large right pneumothorax."]),
        # nothing left: what the findings assert, else what they deny, else nothing
        ("en", "Lungs are clear. Scoliosis.", "Edema.", ["Scoliosis."]),
        ("en", "No pneumothorax.", "Edema.", ["No pneumothorax."]),
        ("en", "Two views.", "Edema.", []),
        # said twice
        ("en", "Left effusion.", "Left effusion. Left effusion.", ["Left effusion."]),
        ("en", "Small left effusion.", "Effusion. Small left effusion.", ["Small left effusion."]),
        ("en", "Left effusion.", "1. Left effusion 2. Right effusion.", ["Left effusion."]),
    ],
)  # fmt: skip
def test_what_cannot_be_repaired_gives_way_to_the_findings(
    language: str, findings: str, draft: str, sentences: list[str]
) -> None:
    assert [text for text, _ in mended(draft, findings, language)] == sentences


def test_a_sentence_keeps_its_source_and_names_its_findings() -> None:
    findings = "Left effusion. Rib fracture. Mild scoliosis."
    told = mend([Sentence("Right effusion.", ("edema",), "generated")], Request(findings, "en"))
    assert told.sentences == (
        Sentence("Rib fracture.", ("fracture",), "rule"),
        Sentence("Left effusion.", ("pleural_effusion",), "generated"),
    )
    (refused,) = told.refused
    assert refused.text == "Right effusion."
    assert refused.reason == "The findings name another side: effusion."


def test_a_reason_is_told_in_the_language_and_the_words_of_the_draft() -> None:
    told = mend(
        [Sentence("Atelectasia en la base derecha.", ())], Request("Atelectasia leve.", "es")
    )
    assert [refused.reason for refused in told.refused] == [
        "Los hallazgos nombran otro lado: Atelectasia."
    ]
    told = mend(
        [Sentence("Pequeño quiste, hace 5 años.", ())], Request("Quiste, hace 2 años.", "es")
    )
    assert [refused.reason for refused in told.refused] == [
        "Los hallazgos no contienen este número: 5 años."
    ]


@pytest.mark.parametrize(
    ("language", "state", "text"),
    [
        ("en", State.PRESENT, "Pneumonia."),
        ("en", State.UNDETERMINED, "Possible pneumonia."),
        ("en", State.ABSENT, "No pneumonia."),
        ("es", State.PRESENT, "Neumonía."),
        ("es", State.UNDETERMINED, "Posible neumonía."),
        ("es", State.ABSENT, "Sin neumonía."),
    ],
)
def test_a_coded_finding_is_told_by_its_name(language: str, state: State, text: str) -> None:
    known = coded(
        [Finding("lung_infection", "1.2", 0.5, 0.5, state, (0.4, 0.6))], lambda _: "pneumonia"
    )
    told = mend([Sentence("Edema.", ())], Request("", language, known=known))
    assert told.sentences == (Sentence(text, ("lung_infection",), "rule"),)


@pytest.mark.parametrize("language", ["en", "es"])
def test_every_concept_has_a_name_that_reads_back(language: str) -> None:
    names = {c: pair[language == "es"] for c, pair in table("names").items()}
    assert set(names) == set(concepts())
    for concept in set(names) - {"clear_angle", "clear_lungs", "intact_bones", "acute_disease"}:
        said = {m.concept: m.state for m in read(names[concept] + ".", language)}
        assert said.get(concept) in ASSERTED, concept


def test_a_language_without_phrases_is_refused() -> None:
    with pytest.raises(ValueError, match="No phrase list for 'de'"):
        mend([], Request("Kein Pneumothorax.", "de"))


# ------------------------------------------------------------------ what holds for every draft

WORDS = {
    "en": {
        "side": ["left", "right", "bilateral", ""],
        "degree": ["mild", "severe", "small", "large", "multiple", ""],
        "size": ["4 mm", "12 mm", "3 cm", ""],
        "thing": [
            *("pleural effusion", "pneumothorax", "nodule", "rib fracture", "opacity", "edema"),
            *("atelectasis", "cardiomegaly", "granuloma", "consolidation", "scoliosis", "mass"),
        ],
        "frame": [
            *("{}.", "No {}.", "Possible {}.", "There is {}.", "{}, may represent pneumonia."),
            *("{} or infiltrate.", "Healed {}.", "New {}.", "{} has resolved", "No acute disease."),
            *("{} is diagnostic of malignancy.", "No {} or effusion.", "CT is performed."),
        ],
    },
    "es": {
        "side": ["izquierdo", "derecho", "bilateral", ""],
        "degree": ["leve", "severo", "pequeño", "múltiple", ""],
        "size": ["de 4 mm", "de 12 mm", "de 3 cm", ""],
        "thing": [
            *("derrame pleural", "neumotórax", "nódulo", "infiltrado", "edema", "granuloma"),
            *("engrosamiento pleural", "ensanchamiento mediastínico", "aneurisma", "aplastamiento"),
        ],
        "frame": [
            *("{}.", "Sin {}.", "Posible {}.", "Se observa {}.", "{}, a descartar neumonía."),
            *("{} o infiltrado.", "{} antiguo.", "Nuevo {}.", "{} resuelto", "Un {} maligno."),
            *("Sin hallazgos agudos.", "No se puede descartar {}.", "{} que confirma neoplasia."),
        ],
    },
}  # fmt: skip


def statements(language: str) -> st.SearchStrategy[str]:
    """Sentences of a report, right and absurd ones."""
    words = {name: st.sampled_from(values) for name, values in WORDS[language].items()}
    order = ("degree", "side", "size", "thing")
    if language == "es":
        order = ("thing", "degree", "side", "size")
    things = st.tuples(*(words[name] for name in order)).map(
        lambda parts: " ".join(filter(None, parts))
    )
    sentence = st.tuples(words["frame"], things).map(lambda pair: pair[0].format(pair[1]))
    return st.lists(sentence, max_size=5).map(" ".join)


def holds(told: Mended, request: Request) -> None:
    """What is true of every mended draft."""
    texts = [sentence.text for sentence in told.sentences]
    judged = check(" ".join(texts), request.findings, request.language, request.known)
    assert judged.faults == ()
    assert [verdict.sentence for verdict in judged.sentences] == texts
    assert in_order(texts, request.language) == tuple(texts)
    assert len(set(texts)) == len(texts)
    again = mend(told.sentences, request)
    assert again == Mended(told.sentences, ())
    assert all(refused.text and refused.reason for refused in told.refused)


@pytest.mark.parametrize("language", ["en", "es"])
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_a_mended_draft_passes_the_guard_and_stays(language: str, data: st.DataObject) -> None:
    findings, draft = data.draw(statements(language)), data.draw(statements(language))
    states = st.sampled_from(list(State))
    codes = st.lists(
        st.tuples(st.sampled_from(["pneumonia", "edema", "nodule"]), states), max_size=2
    )
    known = coded(
        Finding(name, "1.2", 0.5, 0.5, state, (0.4, 0.6)) for name, state in data.draw(codes)
    )
    request = Request(findings, language, known=known)
    holds(mend([Sentence(draft, (), "generated")], request), request)


def planted() -> list[dict[str, str]]:
    return [json.loads(line) for line in PLANTED_ES.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("row", planted(), ids=lambda row: row["corrupted"][:40])
def test_the_spanish_planted_errors_are_mended(row: dict[str, str]) -> None:
    request = Request(row["findings"], "es")
    told = mend([Sentence(row["corrupted"], (), "nearest")], request)
    holds(told, request)
    assert told.sentences


def test_a_draft_is_mended_in_less_than_twenty_milliseconds() -> None:
    """p95 over hand-written drafts, each with its own findings; in processor time."""
    times = []
    for row in planted() * 2:
        begin = time.process_time()
        mend([Sentence(row["corrupted"], ())], Request(row["findings"], "es"))
        times.append(time.process_time() - begin)
    assert sorted(times)[int(0.95 * len(times))] < 0.02


def test_an_uncertain_finding_is_never_made_certain() -> None:
    told = mend([Sentence("Pneumonia.", ())], Request("Concern for pneumonia.", "en"))
    assert [m.state for s in told.sentences for m in read(s.text, "en")] == [Assertion.UNCERTAIN]
