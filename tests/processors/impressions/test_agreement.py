"""How far a final impression agrees with its draft: words, ROUGE, findings."""

from __future__ import annotations

import pytest

from processors.impressions.agreement import Agreement, compare


@pytest.mark.parametrize(
    ("language", "draft", "final", "both", "added", "removed", "contradicted"),
    [
        pytest.param("es", "Cardiomegalia.", "Cardiomegalia.", 1, 0, 0, 0, id="kept"),
        pytest.param("en", "Cardiomegaly.", "The heart is enlarged.", 1, 0, 0, 0, id="rephrased"),
        pytest.param("es", "Cardiomegalia.", "Cardiomegalia. Neumotórax.", 1, 1, 0, 0, id="added"),
        pytest.param("en", "Cardiomegaly. Effusion.", "Cardiomegaly.", 1, 0, 1, 0, id="removed"),
        pytest.param("en", "Left effusion.", "Right effusion.", 0, 0, 0, 1, id="other side"),
        pytest.param(
            "es", "Derrame pleural izquierdo.", "Derrame pleural bilateral.", 1, 0, 0, 0,
            id="both sides include one",
        ),
        pytest.param("es", "Neumotórax.", "No hay neumotórax.", 0, 0, 0, 1, id="denied"),
        pytest.param("en", "No effusion.", "Pleural effusion.", 0, 0, 0, 1, id="affirmed"),
        pytest.param("en", "No effusion.", "No acute finding.", 0, 0, 0, 0, id="nothing asserted"),
    ],
)  # fmt: skip
def test_findings(
    language: str, draft: str, final: str, both: int, added: int, removed: int, contradicted: int
) -> None:
    found = compare(draft, final, language)
    counts = tuple(map(len, (found.both, found.added, found.removed, found.contradicted)))
    assert counts == (both, added, removed, contradicted)


@pytest.mark.parametrize(
    ("draft", "final", "edits", "words"),
    [
        ("Cardiomegalia leve.", "Cardiomegalia leve.", 0, 2),
        ("Cardiomegalia leve.", "Cardiomegalia.", 1, 2),
        ("Neumotórax", "Neumotorax", 0, 1),  # an accent is no edit
        ("a b c", "x y z", 3, 3),
        ("", "uno dos", 2, 2),
    ],
)
def test_words(draft: str, final: str, edits: int, words: int) -> None:
    found = compare(draft, final, "es")
    assert (found.edits, found.words) == (edits, words)


def test_rouge_does_not_cut_words_at_accents() -> None:
    found = compare("Neumotórax izquierdo", "Neumotorax izquierdo", "es")
    assert (found.rouge1, found.rouge2, found.rougeL) == (1.0, 1.0, 1.0)
    assert compare("índice", "ñandú", "es").rouge1 == 0.0


def test_english_words_are_stemmed_and_spanish_ones_not() -> None:
    assert compare("effusions", "effusion", "en").rouge1 == 1.0
    assert compare("derrames", "derrame", "es").rouge1 == 0.0


def test_the_figures_are_plain_json() -> None:
    figures = compare("Cardiomegaly.", "Effusion.", "en").figures()
    assert set(figures) == set(Agreement.__slots__)
    assert figures["added"] == ("pleural_effusion",)
