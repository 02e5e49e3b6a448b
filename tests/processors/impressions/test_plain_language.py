"""The patient's summary: labelled, readable, and never more than the findings say."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from copy import deepcopy
from itertools import product
from pathlib import Path
from statistics import mean

import pytest

from processors.analysis import Finding, State
from processors.impressions import plain_language
from processors.impressions.assertion import Assertion
from processors.impressions.grounding import STATES
from processors.impressions.labeller import Mention, read, summary
from processors.impressions.lexicon import concepts, table
from processors.impressions.plain_language import of_findings, of_mentions, of_text

LANGUAGES = ("en", "es")
LABELS = {
    "en": "Draft. No doctor has checked this text. Ask your doctor what it means for you.",
    "es": "Borrador. Ningún médico ha revisado este texto. "
    "Pregunte a su médico qué significa para usted.",
}
NAMES = {
    "pneumonia": {"en": "Pneumonia", "es": "Neumonía"},
    "pleural effusion": {"en": "pleural effusion", "es": "derrame pleural"},
    "pneumothorax": {"en": "Pneumothorax", "es": "Neumotórax"},
    "glioma": {"en": "Glioma", "es": "Glioma"},
    "edema": {"en": "Pulmonary edema", "es": "Edema pulmonar"},
    "tumor": {"en": "tumor", "es": "tumor"},
    "nodule": {"en": "nodule", "es": "nódulo"},
    "large_pneumothorax": {"en": "large pneumothorax", "es": "neumotórax grande"},
    "malignant_lesion": {
        "en": "lesion of malignant appearance",
        "es": "lesión de aspecto maligno",
    },
}
# hydropneumothorax names two things at once, and the blunted angle is never certain
ALONE = [
    c for c in table("plain")["en"]["words"] if c not in ("hydropneumothorax", "blunted_angle")
]


def found(label: str, state: State, uid: str = "1") -> Finding:
    return Finding(label, uid, 0.87, 0.5, state, (0.4, 0.6))


def body(text: str, language: str) -> str:
    """A summary without its label, which must be there."""
    first, _, rest = text.partition("\n")
    assert first == LABELS[language]
    return rest


# ---- the label ----------------------------------------------------------------------------------
@pytest.mark.parametrize("language", LANGUAGES)
def test_no_summary_without_its_label(language: str) -> None:
    findings = [found("pneumonia", State.PRESENT)]
    mentions = read("Pneumonia." if language == "en" else "Neumonía.", language)
    for text in (of_findings(findings, NAMES, language), of_mentions(mentions, language)):
        assert body(text, language)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_label_stands_above_silence_too(language: str) -> None:
    assert body(of_mentions((), language), language)


# ---- what it says -------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("state", "language", "said"),
    [
        (State.PRESENT, "en", "It saw signs of pneumonia (a lung illness caused by germs)."),
        (State.UNDETERMINED, "en", "There may be pneumonia (a lung illness caused by germs). "
                                   "The program could not tell."),
        (State.ABSENT, "en", "It saw no sign of pneumonia (a lung illness caused by germs)."),
        (State.PRESENT, "es",
         "Ha visto signos de neumonía (una enfermedad del pulmón causada por gérmenes)."),
        (State.UNDETERMINED, "es", "Es posible que haya neumonía (una enfermedad del pulmón "
                                   "causada por gérmenes). El programa no lo ha podido saber."),
        (State.ABSENT, "es",
         "No ha visto signos de neumonía (una enfermedad del pulmón causada por gérmenes)."),
    ],
)  # fmt: skip
def test_each_state(state: State, language: str, said: str) -> None:
    text = body(of_findings([found("pneumonia", state)], NAMES, language), language)
    assert said in text
    assert text.endswith({"en": "anything else.", "es": "nada más."}[language])


@pytest.mark.parametrize(
    ("label", "language", "said"),
    [
        ("malignant_lesion", "en", "signs of lesion of malignant appearance."),  # not "cancer"
        ("malignant_lesion", "es", "signos de lesión de aspecto maligno."),
        ("edema", "en", "signs of pulmonary edema (water in the lung)."),
        ("edema", "es", "signos de edema pulmonar (agua dentro del pulmón)."),
        ("tumor", "en", "signs of tumor (an area that looks unlike the rest)."),
        ("nodule", "en", "signs of a nodule (a round spot)."),
        ("large_pneumothorax", "en", "signs of large pneumothorax (air around the lung)."),
        ("glioma", "en", "signs of glioma."),
        ("glioma", "es", "signos de glioma."),
    ],
)
def test_a_finding_keeps_its_name(label: str, language: str, said: str) -> None:
    assert said in of_findings([found(label, State.PRESENT)], NAMES, language)


def test_the_gravest_image_speaks_for_the_study() -> None:
    films = [found("pneumonia", State.ABSENT, "1"), found("pneumonia", State.PRESENT, "2")]
    assert "no sign" not in of_findings(films, NAMES, "en")


def test_what_has_no_name_is_no_finding() -> None:
    both = [found("pneumonia", State.ABSENT), found("lung", State.PRESENT)]
    assert of_findings(both, NAMES, "en") == of_findings(both[:1], NAMES, "en")


def test_denials_stand_together_and_numbers_and_degrees_are_left_out() -> None:
    text = of_mentions(
        read("Large 12 mm nodule on the left. No pneumothorax. No pleural effusion.", "en"), "en"
    )
    assert body(text, "en") == (
        "This is what the report on your images says, in plain words. "
        "It describes a nodule (a round spot) on the left side. It describes no sign of "
        "a pneumothorax (air around the lung) or a pleural effusion (water around the lung)."
    )


def test_what_has_no_plain_words_is_admitted() -> None:
    text = of_mentions(read("Pneumonia. Scoliosis.", "en"), "en")
    assert text.endswith("It also names things that are not put into plain words here.")
    assert "scoliosis" not in text.lower()


def test_what_nobody_understands_is_admitted_too() -> None:
    text = of_text("No pneumothorax. Thickened endometrium 22 mm.", "en")
    assert text.endswith("It also names things that are not put into plain words here.")
    assert not of_text("No pneumothorax. Heart size normal.", "en").endswith("here.")


def test_nothing_is_said_of_urgency() -> None:
    text = of_mentions(read("Tension pneumothorax.", "en"), "en")
    assert "a pneumothorax" in text
    assert not re.search(r"urgent|danger|call|hurry|at once|minutes", text, re.I)


def test_what_does_not_read_back_is_not_said(monkeypatch: pytest.MonkeyPatch) -> None:
    words = deepcopy(table("plain"))
    words["en"]["model"]["absent"] = "It looked for {what}."  # as if it were there
    monkeypatch.setattr(plain_language, "_words", lambda: words)
    assert of_findings([found("pneumonia", State.ABSENT)], NAMES, "en") == ""


# ---- grounded -----------------------------------------------------------------------------------
def every_fact() -> Iterator[tuple[str, str, Assertion]]:
    return product(LANGUAGES, ALONE, Assertion)


def test_every_row_reads_back_in_each_state() -> None:
    """With its explanation, of its own state, no side, no degree, and nothing besides."""
    assert set(ALONE) <= set(concepts())
    assert set(table("plain")["en"]["words"]) == set(table("plain")["es"]["words"])
    for language, concept, state in every_fact():
        mention = Mention(concept, concepts()[concept].finding, state, "", 0, 0)
        text = body(of_mentions([mention], language), language)
        assert "(" in text, (language, concept, state)
        for said in read(text, language):
            assert said.state is state, (language, concept, text)
            assert not said.sides | said.degrees, (language, concept, text)
        assert set(summary(read(text, language))) == set(summary([mention]))


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_state_of_three_findings(language: str) -> None:
    labels = ("pneumonia", "pleural effusion", "pneumothorax")
    for states in product(State, repeat=3):
        findings = [found(*pair) for pair in zip(labels, states, strict=True)]
        text = body(of_findings(findings, NAMES, language), language)
        said = summary(read(text, language))
        assert said == {
            label.replace(" ", "_"): STATES[state]
            for label, state in zip(labels, states, strict=True)
        }, text


@pytest.mark.parametrize("language", LANGUAGES)
def test_most_texts_of_a_radiologist_can_be_told(language: str) -> None:
    """The labelled sentences of this folder: a summary that reads back is made of nearly all."""
    texts = []
    for name, column in (("sentences.csv", "sentence"), ("urgency.csv", "text")):
        with Path(__file__).with_name(name).open(encoding="utf-8", newline="") as file:
            texts += [r[column] for r in csv.DictReader(file) if r["language"] == language]
    untold = [text for text in texts if not of_mentions(read(text, language), language)]
    print(f"\ntold {language}: {len(texts) - len(untold)} of {len(texts)}", *untold, sep="\n")
    assert len(untold) <= 0.05 * len(texts)


# ---- readable -----------------------------------------------------------------------------------
def syllables(word: str, language: str) -> int:
    """Groups of vowels; a strong vowel beside a strong or stressed one is a syllable more (es), a
    silent e at the end is one less (en)."""
    word = word.lower()
    if language == "es":
        hiatus = re.findall(r"(?=[aeoáéó][aeoáéóíú]|[íú][aeo])", word)
        return max(1, len(re.findall(r"[aeiouáéíóúü]+", word)) + len(hiatus))
    return max(
        1, len(re.findall(r"[aeiouy]+", re.sub(r"(?<![aeiouyl])e$|(?<=[^td])ed$", "", word)))
    )


def readability(text: str, language: str) -> float:
    """Flesch's reading ease (J Appl Psychol 1948;32:221-233); for Spanish that of Fernández Huerta
    (Consigna 1959;214:29-32), with words a sentence as its second term."""
    sentences = [s for s in re.split(r"[.!?:]+\s*", text) if s.strip()]
    words = re.findall(r"[^\W\d_]+", text)
    per_word = sum(syllables(word, language) for word in words) / len(words)
    per_sentence = len(words) / len(sentences)
    if language == "es":
        return 206.84 - 60 * per_word - 1.02 * per_sentence
    return 206.835 - 84.6 * per_word - 1.015 * per_sentence


@pytest.mark.parametrize(("word", "language", "count"), [
    ("lung", "en", 1), ("doctor", "en", 2), ("caused", "en", 1), ("image", "en", 2),
    ("pneumonia", "en", 3), ("pulmón", "es", 2), ("neumonía", "es", 4), ("agua", "es", 2),
    ("imágenes", "es", 4), ("aéreo", "es", 4),
])  # fmt: skip
def test_syllables(word: str, language: str, count: int) -> None:
    assert syllables(word, language) == count


@pytest.mark.parametrize("language", LANGUAGES)
def test_readable(language: str) -> None:
    """Plain (60 and more) on the average of all rows and states, the label included."""
    figures = []
    for concept, state in product(ALONE, Assertion):
        mention = Mention(concept, concepts()[concept].finding, state, "", 0, 0)
        figures.append(readability(of_mentions([mention], language), language))
    print(f"\nreadability {language}: mean {mean(figures):.1f}, lowest {min(figures):.1f}")
    assert mean(figures) >= 60
