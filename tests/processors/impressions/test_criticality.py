"""Urgency against the cases written before the rules; the order of a draft."""

from __future__ import annotations

import csv
from itertools import pairwise
from pathlib import Path

import pytest

from processors.analysis import CRITICALITY, Impression, Sentence
from processors.impressions.criticality import (
    Category,
    impression_of,
    in_order,
    ranked,
    rules,
    word,
)
from processors.impressions.labeller import read
from processors.impressions.lexicon import concepts

TABLE = Path(__file__).with_name("urgency.csv")
FLOOR = 0.95


def cases() -> list[dict[str, str]]:
    with TABLE.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def category(text: str, language: str, context: tuple[str, ...] = ()) -> int:
    found = ranked(read(text, language), language, context)
    return int(found[0].category) if found else 0


def test_the_categories_of_the_cases() -> None:
    rows = cases()
    assert len(rows) >= 150
    wrong = [
        f"{row['text']}: {got} for {row['category']}"
        for row in rows
        if (got := category(row["text"], row["language"], (row["context"],)))
        != int(row["category"])
    ]
    agreement = 1 - len(wrong) / len(rows)
    print(f"\nurgency: {agreement:.3f} of {len(rows)} cases ({FLOOR})", *wrong, sep="\n")
    assert agreement >= FLOOR


def test_every_category_comes_before_the_next() -> None:
    for language in ("en", "es"):
        text = " ".join(row["text"] for row in reversed(cases()) if row["language"] == language)
        order = [u.category for u in ranked(read(text, language), language, ("trauma",))]
        assert set(order) == set(Category)
        assert all(a <= b for a, b in pairwise(order))


def test_a_draft_tells_the_most_urgent_first() -> None:
    draft = ("Mild cardiomegaly.", "8 mm nodule.", "Pneumonia.", "Tension pneumothorax.")
    assert in_order(draft, "en") == (*reversed(draft[1:]), draft[0])


def test_a_draft_of_sentences_is_marked_and_ordered() -> None:
    texts = ("Mild cardiomegaly.", "8 mm nodule.", "Pneumonia.", "No tension pneumothorax.")
    draft = impression_of([Sentence(text, (), "nearest") for text in texts], "en")
    assert [(s.text, s.category) for s in draft.sentences] == [
        ("Pneumonia.", 2), ("8 mm nodule.", 3), ("Mild cardiomegaly.", 0),
        ("No tension pneumothorax.", 0),
    ]  # fmt: skip
    assert draft.criticality == "hours"
    assert {sentence.source for sentence in draft.sentences} == {"nearest"}


@pytest.mark.parametrize(
    ("categories", "expected"),
    [((), "routine"), ((0, 0), "routine"), ((0, 3), "days"), ((3, 2), "hours"),
     ((2, 0, 1), "minutes")],
)  # fmt: skip
def test_the_word_for_a_draft(categories: tuple[int, ...], expected: str) -> None:
    assert word(categories) == expected
    assert expected in CRITICALITY


def test_no_other_word_and_no_other_category() -> None:
    with pytest.raises(ValueError, match="none of routine"):
        Impression("en", (), "red")
    with pytest.raises(ValueError, match="0 to 3"):
        Sentence("Pneumonia.", (), category=4)
    with pytest.raises(ValueError, match="category 2 is hours"):
        Impression("en", (Sentence("Pneumonia.", (), category=2),), "minutes")


@pytest.mark.parametrize(
    ("text", "context", "wanted"),
    [
        ("Widened mediastinum.", (), 3),
        ("Widened mediastinum.", ("trauma",), 1),
        ("Pneumothorax without tension.", (), 2),
        ("Unchanged pneumothorax.", (), 0),
        ("Unchanged tension pneumothorax.", (), 1),
        ("Possible pneumonia.", (), 3),
        ("Possible tuberculosis.", (), 2),
    ],
)
def test_context_hedging_and_history(text: str, context: tuple[str, ...], wanted: int) -> None:
    assert category(text, "en", context) == wanted


def test_every_rule_has_a_source_and_known_concepts() -> None:
    assert all("Larson 2014" in rule.source for rule in rules())
    assert all(rule.concepts <= set(concepts()) for rule in rules())
    assert [rule.category for rule in rules()] == sorted(rule.category for rule in rules())


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        ("en", "Left effusion has decreased; right effusion has increased.", 3),
        ("en", "Healed right rib fracture, acute fracture of the left clavicle.", 2),
        ("en", "Unchanged effusion, no new nodule.", 0),
        ("en", "Diaphragmatic rupture on the left.", 1),
        ("en", "Active extravasation of contrast.", 1),
        ("en", "Lung abscess in the right lower lobe.", 2),
        ("en", "Complete opacification of the left hemithorax.", 2),
        ("en", "No rupture. No hemorrhage.", 0),
        ("es", "El derrame derecho ha disminuido y el izquierdo ha aumentado.", 3),
        ("es", "Perforación esofágica.", 1),
        ("es", "Contusión pulmonar.", 2),
    ],
)
def test_what_is_known_and_worse_alerts_again_and_what_is_torn_or_bleeds_alerts(
    language: str, text: str, expected: int
) -> None:
    assert category(text, language) == expected
