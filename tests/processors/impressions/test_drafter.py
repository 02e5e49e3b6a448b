"""Drafts of the shipped bundle: grounded, nothing critical missing, most urgent first."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from processors.analysis import Finding, State
from processors.impressions.drafter import RankedDrafter, open_drafter
from processors.impressions.drafting import Candidate, Drafter, Request
from processors.impressions.grounding import check, coded
from processors.impressions.labeller import read
from processors.impressions.lexicon import FINDINGS, concepts

ROOT = Path(__file__).parents[3]
CASES = [
    ("en", "Heart size is normal. Lungs are clear. No effusion or pneumothorax."),
    ("en", "The heart is enlarged. Small left pleural effusion. Mild degenerative changes."),
    ("en", "Large right pneumothorax with mediastinal shift. Old rib fractures."),
    ("en", "9 mm nodule in the left upper lobe. The heart is normal. No pneumothorax."),
    ("en", "Possible right lower lobe pneumonia. Stable cardiomegaly. No effusion."),
    ("en", "Endotracheal tube tip in the right main bronchus. Bibasilar atelectasis."),
    ("en", "There is free air under the diaphragm. Left basilar scarring. Clear right lung."),
    ("es", "Silueta cardíaca normal. Campos pulmonares limpios. Sin derrame pleural."),
    ("es", "Derrame pleural izquierdo moderado. Cardiomegalia. Sin neumotórax."),
    ("es", "Nódulo de 8 mm en lóbulo superior derecho. Sin otras alteraciones."),
    ("es", "Posible consolidación en base derecha. No se puede descartar neumonía."),
]


@pytest.fixture(scope="module")
def drafter() -> Drafter:
    return open_drafter()


@pytest.mark.parametrize(("language", "findings"), CASES)
def test_a_draft_holds_what_is_critical_and_nothing_that_the_guard_minds(
    drafter: Drafter, language: str, findings: str
) -> None:
    made = drafter.draft(Request(findings, language))
    assert made.impression.sentences
    assert made.impression.language == language
    assert check(made.impression.text, findings, language).faults == ()
    for sentence in made.impression.sentences:
        named = {m.concept for m in read(sentence.text, language) if m.state != "absent"}
        assert not named or sentence.findings, sentence
        assert set(sentence.findings) <= {*concepts(), *FINDINGS}


@pytest.mark.parametrize(
    ("language", "findings", "first", "criticality"),
    [
        (*CASES[0], "", "routine"),
        (*CASES[2], "pneumothorax", "minutes"),
        (*CASES[3], "nodule", "days"),
        (*CASES[5], "main bronchus", "minutes"),
        (*CASES[6], "free air", "minutes"),
        (*CASES[8], "Derrame pleural izquierdo", "days"),
    ],
)
def test_the_most_urgent_stands_first(
    drafter: Drafter, language: str, findings: str, first: str, criticality: str
) -> None:
    made = drafter.draft(Request(findings, language)).impression
    assert first.lower() in made.sentences[0].text.lower()
    assert made.criticality == criticality


def test_the_same_request_gives_the_same_draft() -> None:
    request = Request(CASES[1][1], "en")
    assert open_drafter().draft(request) == open_drafter().draft(request)


class Liar:
    """Offers what nobody found."""

    def candidates(self, request: Request) -> tuple[Candidate, ...]:
        return (Candidate("Large left hemothorax.", "generated"),)


class Fond:
    """Chooses what was generated, wherever there is any."""

    def scores(self, case):
        return open_drafter()._judge.scores(case)

    def calm(self, case):
        return ()

    def worth(self, case, candidates):
        import numpy as np

        return np.array([float(c.origin == "generated") for c in candidates])


def test_a_source_that_lies_is_not_believed_but_where_nobody_guards() -> None:
    drafter, request = RankedDrafter(Fond(), (Liar(),)), Request(CASES[0][1], "en")
    assert "hemothorax" not in drafter.draft(request).impression.text
    free = drafter.draft(request, guard=False)
    assert (free.impression.text, free.origin) == ("Large left hemothorax.", "generated")


@pytest.mark.parametrize("findings", ["", " . ", "XXXX"])
def test_of_no_findings_nothing_is_said(drafter: Drafter, findings: str) -> None:
    assert drafter.draft(Request(findings, "en")).impression.sentences == ()


def test_of_findings_that_no_list_knows_nothing_normal_is_said(drafter: Drafter) -> None:
    made = drafter.draft(Request("Frobnicated gizmo on both films.", "en")).impression
    assert [s.text for s in made.sentences] == ["Frobnicated gizmo on both films."]


def test_coded_findings_without_a_sentence_are_told(drafter: Drafter) -> None:
    finding = Finding("pneumothorax", "1.2", 0.9, 0.5, State.PRESENT, (0.4, 0.6))
    made = drafter.draft(Request("", "es", known=coded([finding]))).impression
    assert [(s.text, s.findings) for s in made.sentences] == [("Neumotórax.", ("pneumothorax",))]


def test_a_language_without_phrases_is_refused(drafter: Drafter) -> None:
    with pytest.raises(ValueError, match="phrase list"):
        drafter.draft(Request("Poumons clairs.", "fr"))


def test_drafting_loads_no_torch() -> None:
    code = (
        "import sys; from processors.impressions.drafter import open_drafter; "
        "from processors.impressions.drafting import Request; "
        "open_drafter().draft(Request('Clear lungs.', 'en')); "
        "print([m for m in ('torch', 'monai', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


@pytest.mark.parametrize(
    ("language", "findings", "kept"),
    [
        ("en", "NG tube tip over the right lower lobe bronchus. Lungs are clear.", "bronchus"),
        ("en", "The left lower lobe is collapsed. No effusion.", "collapsed"),
        ("en", "The pneumothorax has recurred on the right after drain removal.", "recurred"),
        ("en", "Incomplete resolution of right lower lobe pneumonia.", "Incomplete"),
        ("en", "lungs clear no ptx no effusion left rib fracture heart normal", "fracture"),
        ("en", "Splenic laceration. No pneumothorax.", "laceration"),
        ("en", "No pneumothorax identified, but one cannot be excluded.", "cannot"),
        ("en", "Possible pneumonia. No effusion.", "ossible"),
        ("es", "No se descarta neumonía en base derecha.", "No se descarta"),
        ("es", "No se ve neumotórax derecho, pero sí en el izquierdo.", "pero sí"),
        ("es", "Se ha retirado el drenaje, apareciendo neumotórax moderado.", "neumotórax"),
        ("es", "Sonda de alimentación en bronquio izquierdo.", "bronquio"),
        ("es", "Condensación ya conocida, en resolución. Marcapasos.", "resolución"),
        ("en", "Resolving known pneumonia. No effusion.", "Resolving"),
        ("en", "Widened mediastinum. Left rib fracture. Left lung clear.", "Widened mediastinum"),
        ("en", "Large right pneumothorax. Right rib fractures.", "Right rib fractures"),
        ("es", "Derrame derecho. Fracturas costales derechas.", "Fracturas costales derechas"),
    ],
)
def test_no_all_clear_is_written_over_what_is_there(
    drafter: Drafter, language: str, findings: str, kept: str
) -> None:
    made = drafter.draft(Request(findings, language)).impression
    assert kept in made.text
    assert not [m for m in read(made.text, language) if m.concept == "acute_disease"]
