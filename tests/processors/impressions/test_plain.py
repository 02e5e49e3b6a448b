"""The drafter by rule: its sentences are the findings' own, most urgent first, each grounded."""

from __future__ import annotations

import pytest
from report_texts import cases

from processors.impressions import grounding, plain
from processors.impressions.drafting import Request


def drafted(text: str, language: str) -> list[str]:
    draft = plain.PlainDrafter().draft(Request(text, language))
    return [sentence.text for sentence in draft.impression.sentences]


@pytest.mark.parametrize(
    ("language", "findings", "expected"),
    [
        (
            "es",
            "Cardiomegalia. Neumotórax izquierdo a tensión. Sin derrame.",
            ["Neumotórax izquierdo a tensión.", "Cardiomegalia."],
        ),
        (
            "en",
            "The heart is enlarged. Left tension pneumothorax. No effusion.",
            ["Left tension pneumothorax.", "The heart is enlarged."],
        ),
        ("es", "No se puede descartar neumonía.", ["No se puede descartar neumonía."]),
        ("en", "No effusion. Lungs are clear.", [plain.NOTHING["en"]]),
        ("es", "Sin derrame ni neumotórax.", [plain.NOTHING["es"]]),
        ("en", "Cardiomegaly. Cardiomegaly.", ["Cardiomegaly."]),
    ],
)
def test_what_is_drafted(language: str, findings: str, expected: list[str]) -> None:
    assert drafted(findings, language) == expected


def test_each_sentence_rests_on_findings_and_says_that_it_is_by_rule() -> None:
    draft = plain.PlainDrafter().draft(Request("Derrame pleural derecho. Cardiomegalia.", "es"))
    found = {s.text: s.findings for s in draft.impression.sentences}
    assert found["Cardiomegalia."] == ("cardiomegaly",)
    assert {s.source for s in draft.impression.sentences} == {"rule"}


def test_the_most_urgent_finding_gives_the_category() -> None:
    draft = plain.PlainDrafter().draft(Request("Left tension pneumothorax. Cardiomegaly.", "en"))
    assert draft.impression.criticality == "minutes"


@pytest.mark.parametrize("case", list(cases(40)), ids=lambda case: case.findings[:40])
def test_a_whole_draft_is_grounded_and_drops_nothing_critical(case) -> None:  # type: ignore[no-untyped-def]
    text = " ".join(drafted(case.findings, case.language))
    assert not grounding.check(text, case.findings, case.language).faults


def test_a_sentence_that_fails_its_check_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    real = grounding.check

    def strict(draft: str, *rest: object) -> grounding.Grounding:
        wrong = "Pneumonia." if "effusion" in draft else draft
        return real(wrong, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(grounding, "check", strict)
    request = Request("Cardiomegaly. Left effusion.", "en")
    draft = plain.PlainDrafter().draft(request)
    assert [s.text for s in draft.impression.sentences] == ["Cardiomegaly."]
    (refused,) = draft.refused
    assert refused.text == "Left effusion."
    assert refused.reason
    unguarded = plain.PlainDrafter().draft(request, guard=False)
    assert len(unguarded.impression.sentences) == 2


def test_an_unknown_language_is_an_error() -> None:
    with pytest.raises(ValueError, match="fr"):
        drafted("Rien.", "fr")
