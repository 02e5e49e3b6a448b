"""What the guard takes out of candidates, and what it puts in."""

from __future__ import annotations

import pytest

from processors.analysis import Finding, State
from processors.impressions.drafting import Candidate, Request
from processors.impressions.grounding import check, coded
from processors.impressions.guarding import passed, unguarded
from processors.impressions.statements import case

EFFUSION = "The heart is normal. There is a small left pleural effusion."


def left(findings: str, offered: str, language: str = "en") -> tuple[list[str], list[str]]:
    """What is kept of one candidate, and what is refused."""
    found = passed([Candidate(offered, "nearest")], case(Request(findings, language)))
    return (
        [s.text for p in found for s in p.sentences],
        [r.text for p in found for r in p.refused],
    )


@pytest.mark.parametrize(
    ("findings", "offered", "kept", "refused"),
    [
        (EFFUSION, "Small left effusion.", ["Small left effusion."], []),
        (
            EFFUSION,
            "Small left effusion. Right pneumothorax.",
            ["Small left effusion."],
            ["Right pneumothorax."],
        ),
        (
            EFFUSION,
            "Small right effusion.",
            ["Small left pleural effusion."],
            ["Small right effusion."],
        ),
        (
            EFFUSION,
            "No acute disease.",
            ["No acute disease.", "Small left pleural effusion."],
            [],
        ),
        ("Lungs are clear.", "Pneumonia.", [], []),
        (
            "New right lower lobe consolidation.",
            "No acute cardiopulmonary disease.",
            ["New right lower lobe consolidation."],
            ["No acute cardiopulmonary disease."],
        ),
        ("Stable at T12 and 17. Clear lungs.", "Stable at 17. Clear lungs.", None, []),
    ],
)
def test_a_candidate_is_sifted_and_completed(
    findings: str, offered: str, kept: list[str] | None, refused: list[str]
) -> None:
    found = left(findings, offered)
    assert kept is None or found[0] == kept
    assert found[1] == refused
    assert check(" ".join(found[0]), findings, "en").dropped == () or not found[0]


def test_spanish_is_sifted_alike() -> None:
    findings = "Pequeño derrame pleural izquierdo. Sin neumotórax."
    kept, refused = left(findings, "Derrame pleural derecho. Neumotórax.", "es")
    assert kept == ["Pequeño derrame pleural izquierdo."]
    assert refused == ["Derrame pleural derecho.", "Neumotórax."]


def test_each_sentence_kept_says_what_it_rests_on_and_each_refused_why() -> None:
    found = case(Request(EFFUSION, "en"))
    (only,) = passed([Candidate("Left effusion. Left pneumothorax.", "generated")], found)
    assert [(s.text, s.origin) for s in only.sentences] == [("Left effusion.", "generated")]
    assert [m.concept for m in only.sentences[0].rests_on] == ["pleural_effusion"]
    assert "do not name" in only.refused[0].reason


def test_what_the_guard_adds_comes_by_rule() -> None:
    (only,) = passed([Candidate("Normal heart.", "nearest")], case(Request(EFFUSION, "en")))
    assert [s.origin for s in only.sentences] == ["nearest", "rule"]


def test_a_coded_finding_that_no_sentence_tells_is_said_in_our_own_words() -> None:
    finding = Finding("pneumothorax", "1.2", 0.9, 0.5, State.PRESENT, (0.4, 0.6))
    request = Request("Clear lungs.", "en", known=coded([finding]))
    (only,) = passed([Candidate("Clear lungs.", "rule")], case(request))
    assert [s.text for s in only.sentences] == ["Clear lungs.", "Pneumothorax."]


def test_without_guard_all_stays() -> None:
    (only,) = unguarded([Candidate("Right pneumothorax. Mass.", "nearest")])
    assert [s.text for s in only.sentences] == ["Right pneumothorax.", "Mass."]
