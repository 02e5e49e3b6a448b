"""Drafts that must not leave, and those that may."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset

from processors.analysis import Finding, Impression, Instance, Sentence, State, Status, Study
from processors.draft_guard import REASONS, identifying, why_withheld
from processors.impressions.coded import impression
from processors.runtime import SHIPPED, open_bundle
from processors.vae import processor as vae

NAMES = {
    "pneumonia": {"es": "neumonía", "en": "pneumonia"},
    "mass": {"es": "masa", "en": "mass"},
}
PRESENT = Finding("pneumonia", "1.2", 0.87, 0.5, State.PRESENT, (0.4, 0.6))
DENIED = Finding("mass", "1.2", 0.02, 0.5, State.ABSENT, (0.4, 0.6))
NOTES = ("Validated in children of 1 to 5 years, Guangzhou Medical Center, 2018-03-01.",)


def header() -> Dataset:
    made = Dataset()
    made.PatientName, made.PatientID = "De los Santos^María Josefa", "HC-4711/2"
    made.PatientBirthDate, made.AccessionNumber = "20190612", "A-99812"
    made.ReferringPhysicianName = "Okonkwo^Chidi"
    return made


def why(*texts: str, source: str = "generated", language: str = "en") -> str:
    """The kind of reason for which a draft of these sentences is withheld."""
    sentences = tuple(Sentence(text, ("pneumonia",), source) for text in texts)
    draft = Impression(language, sentences)
    found = why_withheld(draft, [PRESENT, DENIED], NAMES, NOTES, identifying([header()]))
    kinds = {said.split("(")[0]: kind for kind, said in REASONS[language].items()}
    return kinds[found.split("(")[0]] if found else ""


@pytest.mark.parametrize(
    ("texts", "kind"),
    [
        pytest.param([], "empty", id="no sentence"),
        pytest.param([" ", ""], "empty", id="blank sentences"),
        pytest.param(["Pneumonia.", "pneumonia"], "repeats", id="a sentence twice"),
        pytest.param(
            ["Opacity in the left lung, in the left lung, in the left lung."],
            "repeats",
            id="a loop within a sentence",
        ),
        pytest.param(["There is a mass in the right lung."], "denied", id="a denied finding"),
        pytest.param(["No effusion. There is a mass."], "denied", id="denial of another thing"),
        pytest.param(["No effusion, but a mass."], "denied", id="the denial ends at the but"),
        pytest.param(["Masa pulmonar."], "denied", id="its other language"),
        pytest.param(["No mass. Findings of pneumonia, 87%."], "", id="denied as the model does"),
        pytest.param(["Pneumonia without evidence of a mass."], "", id="denied in its clause"),
        pytest.param(["Massive consolidation of pneumonia."], "", id="another word"),
    ],
)
def test_report_rambling(texts: list[str], kind: str) -> None:
    assert why(*texts) == kind


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        pytest.param("Pneumonia in Santos.", "patient", id="surname"),
        pytest.param("María has pneumonia.", "patient", id="given name"),
        pytest.param("HC-4711/2: pneumonia.", "patient", id="patient id"),
        pytest.param("Pneumonia, see A-99812.", "patient", id="accession number"),
        pytest.param("Born 20190612: pneumonia.", "patient", id="birth date as in the header"),
        pytest.param("As told to Okonkwo, pneumonia.", "patient", id="referring physician"),
        pytest.param("Pneumonia, as seen on 2024-05-17.", "date", id="a date"),
        pytest.param("Neumonía desde el 3 de mayo de 2024.", "date", id="a date in words"),
        pytest.param("Pneumonia of 34 mm.", "number", id="a number"),
        pytest.param("Discussed with Dr. Ferguson: pneumonia.", "name", id="a title and a name"),
        pytest.param("El paciente Gutiérrez tiene neumonía.", "name", id="a patient's name"),
        pytest.param("Pneumonia, reported by Henry Ferguson.", "name", id="a full name"),
        pytest.param("Pneumonia with a probability of 87%.", "", id="the model's own number"),
        pytest.param("Pneumonia; validated on 2018-03-01, at 1 to 5 years.", "", id="as given"),
        pytest.param("Pneumonia, as in Guangzhou Medical Center.", "", id="a name as given"),
        pytest.param("Kerley lines, los and del are words.", "", id="eponym, particles of a name"),
    ],
)
def test_report_phi(text: str, kind: str) -> None:
    assert why(text) == kind


def test_the_reason_repeats_nothing_of_the_draft() -> None:
    draft = Impression("es", (Sentence("Santos tiene 34 mm.", (), "generated"),))
    said = why_withheld(draft, [PRESENT], NAMES, (), identifying([header()]))
    assert said == "contiene datos que identifican al paciente"


@pytest.mark.parametrize("name", ["chest", "brain", "breast"])
@pytest.mark.parametrize("language", ["es", "en"])
def test_what_the_rules_say_is_never_withheld(name: str, language: str) -> None:
    card = open_bundle(str(SHIPPED / name), "cpu").card
    names = {entry["label"]: entry["name"] for entry in card["labels"]}
    told = [a["note"] for q in card["questions"] for a in q["answers"] if a.get("note")]
    notes = [note[language] for note in (*told, *card.get("notes", ()), *card.get("alarms", ()))]
    for states in product(State, repeat=len(names)):
        findings = [
            replace(PRESENT, label=label, state=state)
            for label, state in zip(names, states, strict=True)
        ]
        draft = impression(findings, names, notes, language)
        assert why_withheld(draft, findings, names, notes, identifying([header()])) == ""


def test_report_rambling_leaves_the_structured_findings(
    tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole processor, with a source of sentences that says whom it has learnt from."""
    rambling = Impression("en", (Sentence("Reported by Henry Ferguson.", (), "generated"),))
    monkeypatch.setattr(vae, "impression", lambda *_: rambling)
    made = header()
    made.SOPInstanceUID, made.Modality, made.PatientAge = "1.2.3", "DX", "003Y"
    made.BodyPartExamined, made.ViewPosition = "CHEST", "AP"
    made.SOPClassUID, made.Rows, made.Columns = "1.2.840.10008.5.1.4.1.1.1.1", 120, 100
    made.PhotometricInterpretation = "MONOCHROME2"
    film = np.random.default_rng(0).random((120, 100)).astype(np.float32) * 0.5
    film[40:80, 25:50] += 0.4
    study = Study("1.2", (Instance("1.2.3", made),), lambda _uid, _frame: film)
    analysis = vae.VaeBundleProcessor("chest", open_bundle(str(tiny_folder), "cpu"), "en").analyse(
        study
    )
    assert analysis.status is Status.COMPLETED
    assert analysis.findings
    assert analysis.impression is None
    assert analysis.withheld == REASONS["en"]["name"]
    assert f"The draft impression was withheld: {analysis.withheld}." in analysis.notes
