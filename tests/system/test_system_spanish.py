"""A Spanish node from the film to the reader: accents, grammar and grounding on the whole way."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from system import films
from system.node import NodeUnderTest, wait_for

from processors.impressions.labeller import read, summary

pytestmark = [pytest.mark.slow, pytest.mark.system, pytest.mark.timeout(180)]
RIS = {"kind": "mllp", "host": "127.0.0.1", "port": 1, "application": "RIS",
       "facility": "HOSPITAL", "processing": "T"}  # fmt: skip
NAME = "Ibáñez Núñez^María Begoña"
FILMS = {"ill": films.ill("ES1", PatientName=NAME), "lateral": films.lateral("ES2")}


@pytest.fixture(scope="module", name="node")
def node_fixture(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeUnderTest]:
    """A node that has judged one film of a child with pneumonia and one lateral film."""
    folder = tmp_path_factory.mktemp("es")
    disk = {"kind": "folder", "path": str(folder / "out")}
    node = NodeUnderTest(folder, changes={
        "node": {"language": "es"},
        "impressions": {"patient_summary": True},
        "destinations": {"disk": disk, "ris": RIS},  # nobody listens at the RIS: the folder does
    })  # fmt: skip
    node.settings["processors"][0] |= {
        "send_to": ["disk", "ris"], "unsuitable": ["text_report", "hl7_oru"],
    }  # fmt: skip
    node.write()
    with node:
        assert set(films.send(node.port, *FILMS.values())) == {0}
        with node.storage() as storage:
            wait_for(lambda: sum(r.ended_at is not None for r in storage.runs.list()) == 2, 90,
                     "both judged")  # fmt: skip
            wait_for(lambda: len(list((folder / "out").rglob("*.hl7"))) == 2, 30, "written")
        yield node


def analysis_of(node: NodeUnderTest, film: str) -> dict[str, Any]:
    with node.storage() as storage:
        (run,) = storage.runs.list(study_uid=FILMS[film].StudyInstanceUID)
        found = storage.runs.analysis(run.id)
    assert found is not None
    return dict(found)


def document(node: NodeUnderTest, film: str) -> Dataset:
    """The text report of a film as the folder has it."""
    for path in (node.folder / "out").rglob("*.dcm"):
        made = dcmread(path, stop_before_pixels=True)
        right = made.StudyInstanceUID == FILMS[film].StudyInstanceUID
        if right and "SR" in made.Modality and "informe de texto" in made.SeriesDescription:
            return made
    raise AssertionError("no text report in the folder")


def texts(made: Dataset) -> str:
    return "\n".join(str(e.value) for e in made.iterall() if e.VR == "UT")


def message(node: NodeUnderTest, film: str) -> bytes:
    study = str(FILMS[film].StudyInstanceUID).encode()
    found = [p.read_bytes() for p in (node.folder / "out").rglob("*.hl7")]
    (one,) = [raw for raw in found if study in raw]
    return one


def test_the_impression_says_in_spanish_what_the_model_found(node: NodeUnderTest) -> None:
    analysis = analysis_of(node, "ill")
    draft = analysis["impression"]
    states = {f["label"]: f["state"] for f in analysis["findings"]}
    assert draft["language"] == "es"
    assert states == {"pneumonia": "present"}
    first = draft["sentences"][0]
    print("\n", draft["text"], "\n", analysis["patient_summary"])
    assert first["text"].startswith("Hallazgos en relación con neumonía (probabilidad del modelo")
    assert (first["findings"], first["source"], first["category"]) == (["pneumonia"], "rule", 2)
    assert draft["criticality"] == "hours"
    assert summary(read(first["text"], "es")) == states
    assert summary(read(analysis["patient_summary"], "es")) == states
    assert analysis["patient_summary"].startswith("Borrador. Ningún médico ha revisado este texto.")


def test_the_report_keeps_every_accent(node: NodeUnderTest) -> None:
    made, analysis = document(node, "ill"), analysis_of(node, "ill")
    assert made.SpecificCharacterSet == "ISO_IR 192"
    assert str(made.PatientName) == NAME
    said = " ".join(texts(made).split())
    for sentence in analysis["impression"]["sentences"]:
        assert sentence["text"] in said
    assert " ".join(analysis["patient_summary"].split()) in said
    assert "Urgencia de este borrador: categoría 2, horas" in said
    assert "Se basa en: Neumonía. Categoría 2, horas." in said
    assert "?" not in said
    assert "\N{REPLACEMENT CHARACTER}" not in said


def test_the_message_keeps_every_accent(node: NodeUnderTest) -> None:
    rows = [row.split("|") for row in message(node, "ill").decode("utf-8").split("\r")]
    (msh,) = [row for row in rows if row[0] == "MSH"]
    assert (msh[17], msh[18]) == ("UNICODE UTF-8", "es^Spanish^ISO639")
    said = " ".join(row[5] for row in rows if row[0] == "OBX" and row[3].startswith("19005-8"))
    assert said == analysis_of(node, "ill")["impression"]["text"]
    plain = [row[5] for row in rows if row[0] == "OBX" and row[3].startswith("PATIENT-SUMMARY")]
    assert plain == analysis_of(node, "ill")["patient_summary"].splitlines()
    notes = [row[3] for row in rows if row[0] == "NTE"]
    assert any("categoría 2, horas" in note for note in notes)
    assert not any(row[27:28] for row in rows if row[0] == "OBR")  # hours are not at once


def test_a_refusal_speaks_spanish_and_drafts_nothing(node: NodeUnderTest) -> None:
    analysis = analysis_of(node, "lateral")
    assert (analysis["status"], analysis["impression"]) == ("unsuitable", None)
    assert analysis["patient_summary"] == ""
    assert "No valorado porque" in texts(document(node, "lateral"))
    assert "No valorado porque" in message(node, "lateral").decode("utf-8")


def test_the_checkers_find_no_error(node: NodeUnderTest, shared: Path, tmp_path: Path) -> None:
    sources = tmp_path / "sources"
    sources.mkdir()
    for name, film in FILMS.items():
        film.save_as(sources / f"{name}.dcm", enforce_file_format=True)
    done = subprocess.run(
        [sys.executable, str(shared / "tools/check_outputs.py"), str(node.folder / "out"),
         "--source", str(sources), "--json", str(tmp_path / "checked.json")],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert json.loads((tmp_path / "checked.json").read_text())["errors"] == 0, done.stdout[-4000:]
