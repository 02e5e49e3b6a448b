"""The main job on real films, with Debian's Orthanc as PACS and a judging RIS.

Ten radiographs pushed by Orthanc come back in the same studies; one study of each other outcome
beside them. All that came back is judged by the shared checkers, then looked at in a viewer.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import JPEG2000Lossless
from system import films
from system.node import ROOT, NodeUnderTest, wait_for
from system.trial import Pacs

from dicom_node.demo.peers import free_port
from processors import Instance, State, Study
from processors.pixels import render
from processors.runtime import open_bundle
from processors.vae.processor import VaeBundleProcessor
from storage import DeliveryState, RunState

pytestmark = [
    pytest.mark.shared,
    pytest.mark.system,
    pytest.mark.slow,
    pytest.mark.timeout(600),
]
SHOTS = ROOT / "var" / "shots"
JUDGES = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # tid1500reader
ENVIRONMENT = {**os.environ, "PATH": JUDGES, "PYTHONDONTWRITEBYTECODE": "1"}


@dataclass
class Ward:
    """The running bench of this module, and which study should end how."""

    node: NodeUnderTest
    tools: Path
    lab: Path
    ris: Path
    base: str
    expected: dict[str, str] = field(default_factory=dict)

    def tool(self, name: object, *words: object) -> str:
        return tool(self.tools / str(name), *words)


def tool(program: Path, *words: object, check: bool = True, seconds: float = 900) -> str:
    done = subprocess.run(
        [sys.executable, str(program), *map(str, words)],
        capture_output=True,
        text=True,
        timeout=seconds,
        env=ENVIRONMENT,
    )
    text = done.stdout + done.stderr
    assert not check or done.returncode == 0, text[-6000:]
    return text


def picked(shared: Path, out: Path, name: str, wanted: list[str]) -> list[Path]:
    """Files of an image set, unpacked."""
    with tarfile.open(shared / "data/images" / f"{name}.tar") as tar:
        for path in wanted:
            tar.extract(path, out, filter="data")
    return [out / path for path in wanted]


def rows(shared: Path, name: str) -> list[dict[str, str]]:
    with (shared / "data/images" / f"{name}.csv").open(newline="") as file:
        return [row for row in csv.DictReader(file) if row["split"] == "val"]


def choose(found: list[dict[str, str]], *labels: str) -> list[str]:
    """One film of each label, in the order of the labels, no film twice."""
    taken: list[str] = []
    for label in labels:
        taken.append(
            next(r["path"] for r in found if label in r["labels"] and r["path"] not in taken)
        )
    return taken


def wrapped(tools: Path, out: Path, images: list[Path], *options: str) -> list[Path]:
    tool(tools / "pacs_lab.py", "wrap", *images, "--out", out, *options)
    return sorted(out.glob("*.dcm"))


def outcome_of(file: Path) -> str:
    """What the shipped model says of one film: completed, undetermined, unsuitable."""
    dataset = dcmread(file)
    uid = str(dataset.SOPInstanceUID)
    study = Study(
        str(dataset.StudyInstanceUID),
        (Instance(uid, dataset),),
        lambda _uid, frame: render(dcmread(file), frame),
    )
    processor = VaeBundleProcessor("chest", open_bundle("chest", device="cpu"), "en")
    if processor.accepts(study):
        return "unsuitable"
    states = {finding.state for finding in processor.analyse(study).findings}
    return "undetermined" if State.UNDETERMINED in states else "completed"


def truncated(source: Path, target: Path) -> Path:
    """The same film with a JPEG 2000 stream that was cut in the middle."""
    dataset = films.restamped(dcmread(source), "truncated")
    dataset.PatientName = "Ejemplo^Corriente rota"
    dataset.compress(JPEG2000Lossless, generate_instance_uid=False)
    (stream,) = generate_frames(dataset.PixelData, number_of_frames=1)
    dataset.PixelData = encapsulate([stream[: len(stream) // 2]])
    dataset.save_as(target, enforce_file_format=True)
    return target


def material(shared: Path, tools: Path, out: Path) -> dict[Path, str]:
    """file -> how its study must end."""
    paed, adult = rows(shared, "chest_paed"), rows(shared, "chest_adult")
    adult = [r for r in adult if r["age"] and int(r["age"]) >= 18]
    true = [r for r in paed if r["geometry"] == "true"]
    children = choose(true, "normal", "bacterial", "viral", "normal", "bacterial")
    adults = choose(adult, "no_finding", "pneumonia", "no_finding", "pneumonia", "infiltration")
    found: dict[Path, str] = {}
    for name, wanted, options in (
        ("chest_paed", children, ("--age", "1-5", "--view", "AP")),
        (
            "chest_adult",
            adults,
            (
                "--age",
                "18-90",
            ),
        ),
    ):
        images = picked(shared, out / "images", name, wanted)
        for file in wrapped(tools, out / "dx" / name, images, *options):
            found[file] = "completed"
    lateral = choose(rows(shared, "chest_lateral"), "")
    images = picked(shared, out / "images", "chest_lateral", lateral)
    for file in wrapped(tools, out / "dx" / "lateral", images, "--view", "LL"):
        found[file] = "unsuitable"
    found[in_the_band(shared, tools, out, adult, set(adults))] = "undetermined"
    source = next(iter(found))
    found[truncated(source, out / "dx" / "truncated.dcm")] = "unreadable"
    vanishes = films.restamped(dcmread(source), "vanishes", PatientName="Ejemplo^Desaparece")
    vanishes.save_as(out / "dx" / "vanishes.dcm", enforce_file_format=True)
    found[out / "dx" / "vanishes.dcm"] = "failed"
    return found


def in_the_band(
    shared: Path, tools: Path, out: Path, adult: list[dict[str, str]], taken: set[str]
) -> Path:
    """An adult's film whose probability lies inside the band of uncertainty."""
    for start in range(0, 80, 10):
        wanted = [r["path"] for r in adult[start : start + 10] if r["path"] not in taken]
        images = picked(shared, out / "images", "chest_adult", wanted)
        for file in wrapped(tools, out / "search" / str(start), images, "--age", "18-90"):
            if outcome_of(file) == "undetermined":
                return Path(shutil.copy(file, out / "dx" / "undetermined.dcm"))
    raise AssertionError("no film of the first eighty lies inside the band")


@pytest.fixture(scope="module")
def ward(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ward]:
    out, tools = tmp_path_factory.mktemp("ward"), shared / "tools"
    expected = material(shared, tools, out)
    dicom, http, mllp = free_port(), free_port(), free_port()
    node = NodeUnderTest(out / "node")
    timing = {"host": "127.0.0.1", "timeout": "10s"}
    node.write(
        destinations={
            "pacs": {"kind": "dicom", "ae_title": "TRIALPACS", "port": dicom, **timing},
            "ris": {
                "kind": "mllp", "port": mllp, "application": "RIS", "facility": "TRIAL",
                "processing": "P", **timing,
            },
        }
    )  # fmt: skip
    node.settings["processors"][0] |= {
        "send_to": ["pacs", "ris"],
        "unsuitable": ["text_report", "hl7_oru"],
    }
    node.write(workers={"processes": 2})
    ward = Ward(node, tools, out / "lab", out / "ris", f"http://127.0.0.1:{http}")
    ward.tool(
        "pacs_lab.py", "start", "--dir", ward.lab, "--dicom-port", dicom, "--http-port", http,
        "--aet", "TRIALPACS", "--node", f"DICTAMEN:{node.port}",
    )  # fmt: skip
    ris = subprocess.Popen(
        [sys.executable, str(tools / "mllp_lab.py"), "serve", "--port", str(mllp), "--out",
         str(ward.ris), "--mode", "auto"],
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        node.start()
        ward.expected = {str(dcmread(f).StudyInstanceUID): how for f, how in expected.items()}
        ward.tool("pacs_lab.py", "load", "--dir", ward.lab, *expected)
        lose_the_file_of_the_failing(ward)
        ward.tool("pacs_lab.py", "push", "--dir", ward.lab, "--all")
        node.until_done(len(expected), 240)
        yield ward
    finally:
        node.stop()
        ris.terminate()
        ris.wait(20)
        ward.tool("pacs_lab.py", "stop", "--dir", ward.lab)


def lose_the_file_of_the_failing(ward: Ward) -> None:
    """One study's file vanishes between its arrival and its run."""
    failing = next(study for study, how in ward.expected.items() if how == "failed")
    workers = [pid for pid, (role, _) in ward.node.pids().items() if role == "worker"]
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)
    ward.tool("pacs_lab.py", "push", "--dir", ward.lab, "--study", failing)
    with ward.node.storage() as storage:
        kept = wait_for(lambda: storage.studies.instances(failing), 20, "the row behind the answer")
        storage.spool.remove(kept[0].path)
        for pid in workers:
            os.kill(pid, signal.SIGCONT)
        # a repeat of the film would bring its file back
        wait_for(lambda: [r for r in storage.runs.list() if r.ended_at], 60, "it failed")


def runs(ward: Ward) -> dict[str, Any]:
    """study -> (state of its only run, its analysis, kinds of its reports)."""
    found = {}
    with ward.node.storage() as storage:
        for run in storage.runs.list(limit=100):
            assert run.study_uid not in found
            kinds = Counter(report.kind for report in storage.runs.reports(run.id))
            found[run.study_uid] = (run, storage.runs.analysis(run.id), kinds)
        states = {state for (_, state), n in storage.outbox.counts().items() if n}
    assert states == {DeliveryState.DELIVERED}
    return found


def test_every_study_ends_as_it_must(ward: Ward) -> None:
    assert len(ward.expected) == 14
    for study, (run, analysis, kinds) in runs(ward).items():
        wanted = ward.expected[study]
        state = {"undetermined": "completed", "unreadable": "unsuitable"}.get(wanted, wanted)
        assert run.state is RunState(state), (wanted, run)
        states = {finding["state"] for finding in (analysis or {}).get("findings", [])}
        found = (analysis or {}).get("findings", [])
        regions = [r for f in found if f["state"] == "present" for r in f["regions"]]
        if wanted == "failed":
            assert kinds == {}
        elif state == "unsuitable":
            assert set(kinds) == {"text_report", "hl7_oru"}
        else:
            assert {"text_report", "hl7_oru"} <= set(kinds)
            assert ("structured_report" in kinds) == bool(regions)
            assert ("overlay" in kinds) == (states != {"absent"})
        if wanted == "undetermined":
            assert "undetermined" in states
    books = ward.node.books()
    assert (books.columns["completed"], books.columns["unsuitable"]) == (11, 2)
    assert (books.columns["failed"], books.difference) == (1, 0)


def test_the_ris_answered_aa_to_every_result(ward: Ward) -> None:
    lines = [json.loads(line) for line in (ward.ris / "log.jsonl").read_text().splitlines()]
    assert len(lines) == 13  # a failed study sends nothing
    assert {(line["verdict"], line["answer"]) for line in lines} == {("good", "AA")}, lines


@pytest.mark.timeout(1500)
def test_the_checkers_find_no_error(ward: Ward, tmp_path: Path) -> None:
    """All results at once for what concerns them together, then each half by the slow judges."""
    report = tmp_path / "checked.json"
    text = tool(
        ward.tools / "check_outputs.py", "--orthanc", ward.base, ward.ris, "--json", report,
        check=False,
    )  # fmt: skip
    assert json.loads(report.read_text())["errors"] == 0, text[-6000:]
    halves, sources = downloaded(ward, tmp_path)
    programs = [
        subprocess.Popen(
            [sys.executable, str(ward.tools / "check_outputs.py"), str(half), "--source",
             str(sources), "--sr-validator", "-v"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=ENVIRONMENT,
        )
        for half in halves
    ]  # fmt: skip
    said = [program.communicate(timeout=1400)[0] for program in programs]
    SHOTS.parent.mkdir(exist_ok=True)
    (SHOTS.parent / "checked.txt").write_text("\n".join(said))
    for text in said:
        assert "finds only" not in text, text[:200]
        assert text.rstrip().endswith("errors: 0"), text[-6000:]


def downloaded(ward: Ward, folder: Path) -> tuple[list[Path], Path]:
    """What Orthanc holds: two folders of results, whole studies each, and one of the sources."""
    pacs = Pacs(folder / "unused")
    pacs.base = ward.base
    halves, sources = [folder / "half0", folder / "half1"], folder / "sources"
    for place in (*halves, sources):
        place.mkdir()
    studies = sorted(ward.expected)
    for held in pacs.held():
        place = sources if held.source else halves[studies.index(held.study) % 2]
        pacs.dataset(held).save_as(place / f"{held.orthanc_id}.dcm")
    return halves, sources


def test_the_story_of_a_study_is_told(ward: Ward) -> None:
    one_of_each = {wanted: study for study, wanted in ward.expected.items()}
    for wanted, study in one_of_each.items():
        told = ward.node.cli("explain", study).stdout
        assert "Traceback" not in told
        assert len(told.splitlines()) >= 3, told
        if wanted == "failed":
            assert "missing" in told.lower(), told
    ward.node.cli("audit", "verify")
    ward.node.cli("books")


@pytest.mark.timeout(1200)
def test_a_viewer_shows_everything(ward: Ward) -> None:
    """OHIF over this PACS; the pictures stay in var/shots for people to look at."""
    for needed in ("chromium", "npm"):
        if not shutil.which(needed):
            assert not os.environ.get("DICTAMEN_SYSTEM"), f"{needed} is not installed"
            pytest.skip(f"{needed} is not installed")
    shutil.rmtree(SHOTS, ignore_errors=True)
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "dictamen-ohif"
    wait_for(lambda: ward.node.get("/healthz")[0] == 200, 5, "the node lives")
    (unreadable,) = [study for study, how in ward.expected.items() if how == "unreadable"]
    shoot = ["shoot.py", "--cache", cache, "--orthanc", ward.base, "--limit", 20]
    others = [word for study in ward.expected if study != unreadable for word in ("--study", study)]
    began = time.monotonic()
    text = ward.tool(*shoot, *others, "--out", SHOTS)
    (SHOTS / "shoot.txt").write_text(f"{text}\n{time.monotonic() - began:.0f} s\n")
    assert len(list(SHOTS.glob("*.png"))) >= 30
    # the film with half a stream stays black in any viewer; what we say of it is shown
    text = tool(
        ward.tools / str(shoot[0]), *shoot[1:], "--study", unreadable,
        "--out", SHOTS / "unreadable", check=False,
    )  # fmt: skip
    said = [line for line in text.splitlines() if line.startswith("ERROR")]
    faults = [line for line in said if "favicon.ico" not in line]  # the viewer's server has none
    assert [fault.split(":")[0].endswith("-DX") for fault in faults] == [True], text
