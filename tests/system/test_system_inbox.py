"""Reports in, drafts out, through the running node: Orthanc as PACS, the judging trial RIS.

Findings come by MLLP and as DICOM SR; the draft goes back as a preliminary ORU and as text SR; the
final report leaves its agreement; two hundred of them make the page, which is photographed.
"""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from inbox_lab import Door, findings, impression, oru
from report_texts import cases
from system import films
from system.node import ROOT, NodeUnderTest, wait_for
from system.trial import Pacs

from dicom_node.demo.peers import free_port
from storage import DeliveryState, Storage

pytestmark = [
    pytest.mark.shared,
    pytest.mark.system,
    pytest.mark.slow,
    pytest.mark.timeout(600),
]
SHOTS = ROOT / "var" / "shots"
TEXT = (
    "Silueta cardíaca de tamaño normal. Derrame pleural derecho moderado. "
    "Neumotórax apical izquierdo pequeño."
)
PATIENT = {"PatientID": "P1", "IssuerOfPatientID": "HOSPITAL", "PatientName": "Muñoz^Ángela"}


@dataclass
class Clinic:
    """A node with a door for reports, a PACS, a RIS that judges what it gets."""

    node: NodeUnderTest
    pacs: Pacs
    tools: Path
    ris: Path
    door: int

    def send(self, folder: Path, *messages: str) -> str:
        """With the shared sender; what it printed. Every message must hear AA."""
        files = []
        for number, message in enumerate(messages):
            files.append(folder / f"{number:04d}.hl7")
            files[-1].write_bytes(message.encode())
        command = [sys.executable, self.tools / "mllp_lab.py", "send", "--port", str(self.door)]
        done = subprocess.run([*command, *files], capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def judged(self) -> list[dict[str, Any]]:
        log = self.ris / "log.jsonl"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    def image(self, name: str, **more: Any) -> str:
        """A film of that study in the PACS and in the node; its Study Instance UID."""
        film = films.restamped(films.films(1)[0], name, **{**PATIENT, **more})
        film.PatientBirthDate, film.SpecificCharacterSet = "19700101", "ISO_IR 192"
        self.pacs.upload([film])
        self.pacs.push(film.StudyInstanceUID)
        return str(film.StudyInstanceUID)


@pytest.fixture(scope="module")
def clinic(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clinic]:
    out, tools = tmp_path_factory.mktemp("clinic"), shared / "tools"
    pacs, mllp, door = Pacs(out / "pacs"), free_port(), free_port()
    node = NodeUnderTest(out / "node")
    pacs.node_port = node.port
    timing = {"host": "127.0.0.1", "timeout": "10s"}
    node.settings["processors"][0]["when"] = {"Modality": ["MG"]}  # no image is judged here
    node.write(
        node={"language": "es"},
        intake={"mllp": {"listen": f"127.0.0.1:{door}", "accept_from": ["127.0.0.1"]}},
        impressions={"send_to": ["pacs", "ris"], "structured_reports": True},
        destinations={
            "pacs": {"kind": "dicom", "ae_title": "TRIALPACS", "port": pacs.port, **timing},
            "ris": {
                "kind": "mllp", "port": mllp, "application": "RIS", "facility": "TRIAL", **timing,
            },
        },
    )  # fmt: skip
    ris = subprocess.Popen(
        [sys.executable, str(tools / "mllp_lab.py"), "serve", "--port", str(mllp), "--out",
         str(out / "ris"), "--mode", "auto"],
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        pacs.up()
        node.start()
        wait_for(lambda: node.events("worker.ready"), 30, "the worker")
        yield Clinic(node, pacs, tools, out / "ris", door)
    finally:
        node.stop()
        pacs.down()
        ris.terminate()
        ris.wait(10)


def delivered(storage: Storage, study: str, number: int) -> bool:
    found = storage.outbox.list(study_uid=study)
    return sum(one.state is DeliveryState.DELIVERED for one in found) >= number


def road(clinic: Clinic, folder: Path, name: str) -> tuple[str, float]:
    """A study, and the seconds from its findings to the delivery of message and text report."""
    study = clinic.image(name)
    message = oru(findings(TEXT), study=study, accession=f"ACC-{name}", filler=f"F-{name}")
    with clinic.node.storage() as storage:
        began = time.monotonic()
        clinic.send(folder, message)
        heard = time.monotonic()
        wait_for(lambda: delivered(storage, study, 2), 20, "message and text report delivered")
        took = time.monotonic() - began
    print(f"acknowledged after {heard - began:.2f} s, delivered after {took:.2f} s")
    return study, took


def test_findings_in_draft_out_within_two_seconds(clinic: Clinic, tmp_path: Path) -> None:
    study, took = road(clinic, tmp_path, "first")
    (sent,) = clinic.judged()
    assert (sent["verdict"], sent["answer"]) == ("good", "AA")
    draft = (clinic.ris / sent["file"]).read_text(encoding="utf-8")
    assert "|RAD|P" in draft
    assert "F-first" in draft
    first, second = (
        "|Neumotórax apical izquierdo pequeño.|",
        "|Derrame pleural derecho moderado.|",
    )
    assert 0 < draft.find(first) < draft.find(second)
    assert study in draft
    (report,) = clinic.pacs.results()[study]
    document = clinic.pacs.dataset(report)
    assert (document.CompletionFlag, document.VerificationFlag) == ("COMPLETE", "UNVERIFIED")
    assert document.PreliminaryFlag == "PRELIMINARY"
    assert str(document.PatientName) == "Muñoz^Ángela"
    texts = [str(each.value) for each in document.iterall() if each.keyword == "TextValue"]
    assert any("Neumotórax apical izquierdo pequeño." in text for text in texts)
    assert any("Silueta cardíaca de tamaño normal." in text for text in texts)
    for again in ("second", "third"):  # the machine may stall, the node may not
        if took < 2.0:
            break
        _, took = road(clinic, tmp_path, again)
    assert took < 2.0


def test_a_final_report_leaves_its_agreement(clinic: Clinic, tmp_path: Path) -> None:
    study = films.uid("study", "first")
    final = oru(
        findings(TEXT),
        impression("Neumotórax izquierdo. Derrame pleural izquierdo."),
        study=study, accession="ACC-first", filler="F-first", status="F", reader="44&Ruiz&Eva",
    )  # fmt: skip
    clinic.send(tmp_path, final)
    with clinic.node.storage() as storage:
        (row,) = wait_for(lambda: list(storage.agreements.all()), 20, "an agreement")
    assert row.study_uid == study
    assert row.figures["both"] == ["pneumothorax"]
    assert row.figures["contradicted"] == ["pleural_effusion"]
    assert row.reader
    assert row.reader != "44"


def test_without_images_the_message_goes_out_and_says_that_no_report_does(
    clinic: Clinic, tmp_path: Path
) -> None:
    before = len(clinic.judged())
    clinic.send(tmp_path, oru(findings(TEXT), study="", accession="X9", filler="X9"))
    wait_for(lambda: len(clinic.judged()) > before, 20, "the draft")
    sent = clinic.judged()[-1]
    assert sent["verdict"] == "good", sent
    draft = (clinic.ris / sent["file"]).read_text(encoding="utf-8")
    assert "113014^" not in draft
    assert "Sin informe de texto para el PACS" in draft


def test_findings_as_a_structured_report(clinic: Clinic) -> None:
    """A preliminary TID 2000 document by C-STORE gives a draft, a verified one its agreement."""
    study = clinic.image("spoken", AccessionNumber="ACC-spoken")
    before = len(clinic.judged())
    source = clinic.pacs.dataset(next(h for h in clinic.pacs.held() if h.study == study))
    for name, verified in (("preliminary", False), ("verified", True)):
        made = films.dictated(source, name, TEXT, "Neumotórax izquierdo." if verified else "")
        if verified:
            made.VerificationFlag = "VERIFIED"
        clinic.pacs.upload([made])
        clinic.pacs.send([h.orthanc_id for h in clinic.pacs.held() if h.uid == made.SOPInstanceUID])
        if not verified:
            wait_for(lambda: len(clinic.judged()) > before, 20, "the draft of the report")
    with clinic.node.storage() as storage:
        found = wait_for(
            lambda: [a for a in storage.agreements.all() if a.study_uid == study], 20, "agreement"
        )
    assert found[0].figures["both"] == ["pneumothorax"]
    assert found[0].figures["removed"] == ["pleural_effusion"]
    results = [clinic.pacs.dataset(h) for h in clinic.pacs.results()[study]]
    assert [str(r.SeriesDescription)[:8] for r in results] == ["AI DRAFT"]


def test_nothing_is_lost_when_the_node_is_killed_after_the_answer(clinic: Clinic) -> None:
    door = Door(clinic.door, None)  # type: ignore[arg-type]
    before = len(clinic.judged())
    message = oru(findings("Neumotórax derecho."), study="", accession="KILL", filler="KILL")
    assert door.send(message) == ["AA"]
    clinic.node.kill_all()
    clinic.node.start()
    wait_for(lambda: len(clinic.judged()) > before, 60, "the draft after the restart")
    wait_for(lambda: clinic.node.events("worker.ready"), 30, "the worker")
    drafts = [j for j in clinic.judged()[before:] if "KILL" in (clinic.ris / j["file"]).read_text()]
    assert {d["verdict"] for d in drafts} == {"good"}
    assert len({d["sha256"] for d in drafts}) == 1  # again at worst, never another one
    assert door.send(message) == ["AA"]
    with clinic.node.storage() as storage:
        (known,) = [m for m in storage.inbox.list() if m.control_id == message.split("|")[9]]
    assert known.repeats == 1


def test_two_hundred_finals_make_the_page_and_the_pairs(clinic: Clinic, tmp_path: Path) -> None:
    wanted = list(cases(200))
    drafts, finals = [], []
    for number, case in enumerate(wanted):
        order = {
            "study": "", "accession": f"N{number}", "filler": f"N{number}",
            "language": case.language, "patient": f"N{number}^^^HOSPITAL^MR",
        }  # fmt: skip
        drafts.append(oru(findings(case.findings), **order))
        signed = (findings(case.findings), impression(case.impression))
        reader = f"{number % 4}&Lector&Uno"
        finals.append(oru(*signed, **order, status="F", reader=reader))
    with clinic.node.storage() as storage:
        already = len(list(storage.agreements.all()))
        clinic.send(tmp_path, *drafts)
        clinic.send(tmp_path, *finals)

        def all_compared() -> bool:
            return len(list(storage.agreements.all())) == already + len(wanted)

        wait_for(all_compared, 240, "two hundred agreements")
        rows = {(row.findings, row.impression): row for row in storage.agreements.all()}
    for case in wanted:
        figures = rows[case.findings, case.impression].figures
        fate = {"added": "added", "removed": "removed"}.get(case.change)
        if fate:
            assert figures[fate] == [case.touched], (case, figures)
    said = json.loads(clinic.node.cli("impressions", "agreement", "--json").stdout)
    assert said["overall"]["reports"] == already + len(wanted)
    assert len(said["readers"]) >= 4
    for language, title in (("es", "Borradores"), ("en", "Drafts")):
        page = tmp_path / f"agreement-{language}.html"
        clinic.node.cli("impressions", "agreement", "--html", str(page), "--language", language)
        text = page.read_text(encoding="utf-8")
        assert title in text
        assert "http" not in text
        photographed(page)
    pairs = tmp_path / "pairs.csv"
    clinic.node.cli("impressions", "corrections", "--out", str(pairs))
    with pairs.open(encoding="utf-8", newline="") as file:
        read = list(csv.DictReader(file))
    assert len(read) == already + len(wanted)
    assert {case.impression for case in wanted} <= {row["impression"] for row in read}
    assert not any("N1" in row["uid"] for row in read)


def photographed(page: Path) -> None:
    """The page as a browser shows it, for somebody to look at."""
    SHOTS.mkdir(parents=True, exist_ok=True)
    browser = shutil.which("chromium") or pytest.fail("chromium is not installed")
    shot = SHOTS / f"{page.stem}.png"
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    subprocess.run(
        [*command, f"--screenshot={shot}", "--window-size=1250,1900", page.as_uri()],
        check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    assert shot.stat().st_size > 20_000


def test_the_metrics_count_what_came(clinic: Clinic) -> None:
    _, text = clinic.node.get("/metrics")
    assert 'dictamen_messages{kind="findings",state="taken"}' in text
    assert 'dictamen_runs_total{mode="live",processor="impressions",status="completed"}' in text


def test_raw_bytes_of_a_stranger_to_HL7_cost_nothing(clinic: Clinic) -> None:
    door = Door(clinic.door, None)  # type: ignore[arg-type]
    assert door.send(b"\x00\xff" * 50) == ["AR"]
    assert clinic.node.get("/readyz")[0] == 200
