"""Our own words: what a mention is called, what a sentence loses, what two texts share."""

from __future__ import annotations

import re

import pytest

from processors.impressions.drafting import Request
from processors.impressions.grounding import check
from processors.impressions.labeller import read
from processors.impressions.lexicon import LANGUAGES, concepts
from processors.impressions.overlap import f1, shared, words
from processors.impressions.phrasing import cleaned, phrasing, said, shortened
from processors.impressions.statements import case


@pytest.mark.parametrize(
    ("language", "sentence", "own"),
    [
        ("en", "The heart is mildly enlarged.", "Mild cardiomegaly."),
        ("en", "There is a small left pleural effusion.", "Small left pleural effusion."),
        ("en", "Bilateral pleural effusions are seen.", "Bilateral pleural effusions."),
        ("en", "A 9 mm nodule in the right upper lobe.", "Right nodule 9 mm."),
        ("en", "Possible pneumonia on the left.", "Possible left pneumonia."),
        ("en", "No pneumothorax.", ""),
        ("es", "La silueta cardíaca está levemente aumentada.", "Cardiomegalia leve."),
        ("es", "Derrame pleural izquierdo moderado.", "Derrame pleural izquierdo moderado."),
        ("es", "Posible consolidación derecha.", "Posible consolidación derecha."),
        ("es", "Múltiples opacidades.", "Opacidades."),
        ("es", "Nódulo de 4,5 mm.", "Nódulo 4,5 mm."),
        ("es", "Sin derrame pleural.", ""),
    ],
)
def test_a_mention_is_said_in_our_own_words(language: str, sentence: str, own: str) -> None:
    (mention,) = read(sentence, language)
    assert said(mention, language) == own
    assert not own or check(own, sentence, language).faults == ()


@pytest.mark.parametrize(
    ("language", "sentence", "short"),
    [
        ("en", "There is a small effusion.", "Small effusion."),
        ("en", "Again seen are the surgical clips.", "Surgical clips."),
        ("en", "A calcified nodule is noted.", "Calcified nodule."),
        ("en", "Additionally, there is an opacity.", "Opacity."),
        ("en", "A nodule is not seen.", "Nodule is not seen."),
        ("en", "The right base is not well seen.", "Right base is not well seen."),
        ("en", "Pleural fluid no longer seen.", "Pleural fluid no longer seen."),
        ("en", "There is no effusion.", "No effusion."),
        ("es", "Se observa un nódulo derecho.", "Nódulo derecho."),
        ("es", "No se observa derrame.", "No se observa derrame."),
    ],
)
def test_a_sentence_loses_its_idle_ends_and_no_negation(
    language: str, sentence: str, short: str
) -> None:
    assert shortened(sentence, language) == short


@pytest.mark.parametrize(
    ("written", "clean"),
    [
        ("1. Stable XXXX effusion .", "Stable effusion."),
        ("4.5 mm nodule", "4.5 mm nodule."),
        ("XXXX", ""),
        ("normal chest x-XXXX. .", "Normal chest x."),
    ],
)
def test_masks_and_list_numbers_go(written: str, clean: str) -> None:
    assert cleaned(written) == clean


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_phrase_belongs_to_a_concept_and_is_read_back_as_it(language: str) -> None:
    phrases = phrasing(language)
    assert set(phrases.names) <= set(concepts())
    for name, entry in phrases.names.items():
        for text in (entry["name"], entry.get("plural", entry["name"])):
            assert name in {m.concept for m in read(f"{text}.", language)}, text


@pytest.mark.parametrize("language", LANGUAGES)
def test_our_normal_sentences_assert_nothing(language: str) -> None:
    phrases = phrasing(language)
    for text in (*phrases.normals, *phrases.unremarkable):
        assert not [m for m in read(text, language) if m.state != "absent"], text


def test_both_languages_count_the_same_classes_of_words() -> None:
    en, es = phrasing("en"), phrasing("es")
    assert list(en.flags) == list(es.flags)
    assert list(en.asked) == list(es.asked)
    assert set(en.names) == set(es.names)
    assert len(en.normals) == len(es.normals)
    assert len(en.unremarkable) == len(es.unremarkable)


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        ("Small effusion.", "small effusions", (1, 1, 1)),
        ("Right effusion", "effusion right", (1, 0, 0.5)),
        ("1. Clear lungs.", "Clear lungs", (1, 1, 1)),
        ("Derrame pequeño", "derrame pequeno", (1, 1, 1)),
        ("", "anything", (0, 0, 0)),
    ],
)
def test_what_two_texts_share(ours: str, theirs: str, expected: tuple[float, ...]) -> None:
    assert f1(words(ours), words(theirs)) == pytest.approx(expected)
    assert shared(ours, theirs) == pytest.approx(sum(expected[:2]) / 2)


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_mask_stands_in_our_phrases(language: str) -> None:
    assert not re.search(r"xxx", str(phrasing(language)), re.I)


@pytest.mark.parametrize(
    ("language", "sentence", "own"),
    [
        ("en", "Empyema on the left.", ""),  # no hemothorax
        ("en", "Radiation pneumonitis.", ""),
        ("en", "Thoracic kyphosis.", ""),
        ("en", "Old left rib fractures.", ""),  # "Left fracture." is heard as a new one
        ("en", "Unchanged small pneumothorax.", ""),
        ("en", "Tension pneumothorax.", ""),
        ("en", "Pneumothorax is on the right but not on the left.", "Right pneumothorax."),
        ("en", "Pneumonia likely.", "Possible pneumonia."),
        ("es", "Empiema izquierdo.", ""),
        ("es", "Pequeño neumotórax sin cambios.", ""),
        ("es", "Pequeño neumotórax.", "Neumotórax pequeño."),
    ],
)
def test_our_own_words_say_no_other_thing_and_nothing_more_urgent(
    language: str, sentence: str, own: str
) -> None:
    (statement,) = case(Request(sentence, language)).statements
    assert statement.own == own
