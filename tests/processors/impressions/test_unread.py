"""What no phrase list understands: no all-clear beside it, and a quiet draft quotes it."""

from __future__ import annotations

import pytest

from processors.impressions.drafter import open_drafter
from processors.impressions.drafting import Request
from processors.impressions.unread import unread


@pytest.mark.parametrize(
    ("language", "sentence", "alone"),
    [
        ("en", "Right hilar fullness.", True),
        ("en", "There is a 38 mm lucency in the right humeral head.", True),
        ("en", "Recommend chest CT for further evaluation of the right hilar fullness.", True),
        ("en", "Thickened endometrium 22 mm.", True),
        ("es", "Aumento del hilio derecho.", True),
        ("en", "Acute appendicitis without perforation or abscess.", True),
        ("en", "Appendix dilated at 12 mm with fat stranding, no abscess.", True),
        ("es", "Apendicitis aguda sin perforación ni absceso.", True),
        ("en", "Trachea midline, no mass.", False),
        ("en", "Osseous structures of the thorax are without fracture.", False),
        ("en", "However, no focal infiltrates are identified.", False),
        ("es", "Mediastino centrado, sin adenopatías.", False),
        ("es", "Distensión de asas con niveles hidroaéreos.", True),
        ("en", "Right pneumothorax.", False),
        ("en", "No hilar fullness.", False),
        ("en", "The hila are unremarkable.", False),
        ("en", "PA and lateral views of the chest were obtained.", False),
        ("en", "Right shoulder.", False),
        ("en", "Degenerative changes of the spine.", False),
        ("en", "Left-sided aortic XXXX.", False),
        ("es", "Hilios de tamaño normal.", False),
        ("es", "Proyección anteroposterior.", False),
    ],
)
def test_what_nobody_understands(language: str, sentence: str, alone: bool) -> None:
    assert unread(sentence, language) == ((sentence,) if alone else ())


@pytest.mark.parametrize(
    ("language", "findings", "quoted"),
    [
        ("en", "Lungs are clear. Right hilar fullness.", "Right hilar fullness."),
        ("en", "Heart size normal. Thickened endometrium 22 mm.", "Thickened endometrium 22 mm."),
        ("es", "Pulmones limpios. Aumento del hilio derecho.", "Aumento del hilio derecho."),
    ],
)
def test_a_draft_that_would_assert_nothing_quotes_it(
    language: str, findings: str, quoted: str
) -> None:
    draft = open_drafter().draft(Request(findings, language, ""))
    said = " ".join(sentence.text for sentence in draft.impression.sentences)
    assert quoted in said
    assert "acute" not in said
    assert "agud" not in said


@pytest.mark.parametrize(
    ("findings", "draft"),
    [
        ("FINDINGS:\nLungs: Small right pneumothorax.\nBones:\nNormal.", "Lungs: Small right"),
        ("* Small right pneumothorax\n* No effusion", "Small right pneumothorax."),
    ],
)
def test_headings_and_bullets_are_no_part_of_a_draft(findings: str, draft: str) -> None:
    said = open_drafter().draft(Request(findings, "en", "")).impression.sentences
    assert [sentence.text[: len(draft)] for sentence in said] == [draft]
