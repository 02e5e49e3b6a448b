"""Runs the demonstration: starts three programs, sends, waits, tells, stops them."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pydicom.dataset import Dataset
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from config import load
from dicom_node import interpreter, rooms, rules, story
from dicom_node.demo import page, patients
from dicom_node.demo.outcome import Row
from dicom_node.demo.patients import Patient
from dicom_node.demo.peers import TrialPacs, TrialRis, free_port, query, store
from storage import Delivery, DeliveryState, Storage

PATIENCE = 90.0  # seconds until a demonstration that does not end is called failed
_MARK = "# Written by `dictamen demo`; everything listens on loopback.\n"
_NODE = """\
node:
  ae_title: DICTAMEN
  listen: 127.0.0.1:{dicom}
  status: 127.0.0.1:{status}
  data_dir: node
  audit_key_file: audit.key
  language: {language}
  label: "{label}"
intake:
  accept_from: [{{ae_title: {pacs_ae}, host: 127.0.0.1}}]
  disk_reserve: 100MiB
  log: 16MiB
processors:
  - name: chest
    kind: vae_bundle
    bundle: chest
    when: {{Modality: [CR, DX], BodyPartExamined: [CHEST, null]}}
    settle: {{quiet: 1s, longest: 10s}}
    reports: [secondary_capture, structured_report, text_report, hl7_oru]
    unsuitable: [text_report, hl7_oru]
    send_to: [pacs, ris]
workers: {{processes: 1}}
destinations:
  pacs: {{kind: dicom, ae_title: {pacs_ae}, host: 127.0.0.1, port: {pacs}}}
  ris: {{kind: mllp, host: 127.0.0.1, port: {ris}, application: RIS, facility: DEMO, processing: T}}
"""
_LABEL = {
    "en": "Not for diagnostic use. Synthetic patient; preliminary result of a model, not reviewed.",
    "es": "No válido para diagnóstico. Paciente sintético; resultado de un modelo, sin revisar.",
}
_DONE = {
    DeliveryState.DELIVERED,
    DeliveryState.REJECTED,
    DeliveryState.HELD,
    DeliveryState.GIVEN_UP,
}


def run(target: Path, language: str) -> int:
    """The demonstration; 0 if every study ended as it must, else 1."""
    console = Console()
    target = target.resolve()
    _clear(target)
    console.print(
        "All patients below are [bold]synthetic[/bold]: drawn by the shipped model's own decoder "
        "from averages over at least five patients. No picture shows a person."
    )
    pacs, ris = TrialPacs(target / "pacs"), TrialRis(target / "ris")
    with (
        Progress(
            SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=console
        ) as progress,
        _peers(pacs, ris),
    ):
        step = progress.add_task("drawing synthetic patients", total=None)
        people = patients.draw(language)
        node_file, port, status_port = _write_settings(target, language, pacs, ris)
        progress.update(step, description="starting the node")
        with _node(node_file, target / "node.log", status_port):
            settings = load(node_file, os.environ, check_rule=rules.faults)
            storage = rooms.storage(settings, "demo")
            try:
                for number, person in enumerate(people, 1):
                    what = f"sending {number} of {len(people)}: {person.title}"
                    progress.update(step, description=what)
                    _send(port, pacs.ae_title, person.datasets)
                progress.update(step, description="the node judges and delivers")
                _send(port, pacs.ae_title, people[0].datasets)  # one study sent again
                _wait(storage, people)
                rows = [_row(storage, pacs, ris, person, language) for person in people]
            finally:
                storage.close()
    page_file = page.write(target, rows, pacs, language)
    console.print(_table(rows))
    console.print(f"{people[0].title} was sent twice: one result, as it must be.")
    console.print(f"Results: {target}")
    console.print(f"Page:    {page_file}")
    console.print("Everything was stopped. Nothing above is for diagnostic use.")
    good = all(row.status == row.patient.expected and row.ack == "AA" for row in rows)
    if not good:
        console.print(f"Not everything ended as it must; the node's log: {target / 'node.log'}")
    return 0 if good else 1


def _clear(target: Path) -> None:
    """Start from nothing; remove only what an earlier demonstration left.

    Raises FileExistsError if there is anything else, a node's own settings and key for example.
    """
    settings = target / "node.yaml"
    ours = settings.is_file() and settings.read_text("utf-8").startswith(_MARK)
    if not ours and target.exists() and any(target.iterdir()):
        raise FileExistsError(
            f"{target} holds what no demonstration wrote. Name a new folder with --out."
        )
    for name in ("pacs", "ris", "node", "pictures"):
        shutil.rmtree(target / name, ignore_errors=True)
    target.mkdir(parents=True, exist_ok=True)
    settings.write_text(_MARK, "utf-8")


def _write_settings(
    target: Path, language: str, pacs: TrialPacs, ris: TrialRis
) -> tuple[Path, int, int]:
    dicom, status = free_port(), free_port()
    key = target / "audit.key"
    key.write_text(secrets.token_hex(32) + "\n")
    key.chmod(0o600)
    file = target / "node.yaml"
    file.write_text(
        _MARK + _NODE.format(
            dicom=dicom, status=status, language=language, label=_LABEL[language],
            pacs_ae=pacs.ae_title, pacs=pacs.port, ris=ris.port,
        ),
        encoding="utf-8",
    )  # fmt: skip
    return file, dicom, status


@contextmanager
def _peers(pacs: TrialPacs, ris: TrialRis) -> Iterator[None]:
    pacs.start()
    ris.start()
    try:
        yield
    finally:
        ris.stop()
        pacs.stop()


@contextmanager
def _node(config: Path, log: Path, status_port: int) -> Iterator[None]:
    with log.open("wb") as out:
        process = subprocess.Popen(
            interpreter.module("dicom_node.cli", "serve", str(config)), stdout=out, stderr=out
        )
    try:
        _until_ready(process, log, status_port)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _until_ready(process: subprocess.Popen[bytes], log: Path, port: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise SystemExit(f"the node ended at its start:\n{log.read_text()[-2000:]}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise SystemExit(f"the node was not ready after 60 s; its log is {log}")


def _send(port: int, calling: str, datasets: Sequence[Dataset]) -> None:
    statuses = store(port, "DICTAMEN", calling, datasets)
    if any(statuses):
        raise SystemExit(f"the node refused a synthetic patient: {statuses}")


def _wait(storage: Storage, people: Sequence[Patient]) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        settled = storage.studies.books(None, None)
        if settled.received == len(people) and settled.columns.get("waiting", 0) == 0:
            unsent = [d for d in storage.outbox.list(limit=1000) if d.state not in _DONE]
            if not unsent:
                return
        time.sleep(0.2)


def _row(storage: Storage, pacs: TrialPacs, ris: TrialRis, person: Patient, language: str) -> Row:
    uid = person.study_uid
    study = storage.studies.get(uid)
    runs = storage.runs.list(study_uid=uid)
    analysis = (storage.runs.analysis(runs[0].id) if runs else None) or {}
    deliveries = storage.outbox.list(study_uid=uid, limit=100)
    answers = {ris.answered[d.report.uid][0] for d in deliveries if d.report.uid in ris.answered}
    picked = [c["processor"] for c in study.trace if c["picked"]] if study else []
    return Row(
        patient=person,
        rule=", ".join(picked) or "none",
        status=runs[0].state.value if runs else "no run",
        reason=analysis.get("reason") or "",
        findings=tuple(
            f"{story.finding_name(f, language)}: {story.state_word(f['state'], language)},"
            f" {story.percent(f['probability'], language)}"
            for f in analysis.get("findings", ())
        ),
        in_pacs=_found(pacs, uid, deliveries),
        ack=", ".join(sorted(answers)) or "none",
        seconds=_seconds(study.first_received.timestamp() if study else 0, deliveries),
        impression=(analysis.get("impression") or {}).get("text", ""),
        said=story.state_word(runs[0].state.value if runs else "waiting", language),
    )


def _found(
    pacs: TrialPacs, study_uid: str, deliveries: Sequence[Delivery]
) -> tuple[tuple[str, str], ...]:
    """(kind, SOP Instance UID) of our results that the PACS itself lists in the study."""
    wanted = Dataset()
    wanted.QueryRetrieveLevel, wanted.StudyInstanceUID = "IMAGE", study_uid
    wanted.SOPInstanceUID = wanted.SeriesInstanceUID = ""
    held = {str(d.SOPInstanceUID) for d in query("127.0.0.1", pacs.port, pacs.ae_title, wanted)}
    ours = {d.report.uid: d.report.kind for d in deliveries}
    return tuple((kind, uid) for uid, kind in ours.items() if uid in held)


def _seconds(received: float, deliveries: Sequence[Delivery]) -> float:
    ends = [d.ended_at.timestamp() for d in deliveries if d.ended_at]
    return max(ends) - received if ends else 0.0


def _table(rows: Sequence[Row]) -> Table:
    table = Table(title="What came back", show_lines=True)
    for name in ("patient (synthetic)", "rule", "result", "in the PACS", "RIS", "seconds"):
        table.add_column(name, overflow="fold")
    for row in rows:
        result = "\n".join((row.said, *row.findings, row.reason)).strip()
        uids = "\n".join(f"{kind} …{uid[-12:]}" for kind, uid in row.in_pacs)
        table.add_row(
            Text(row.patient.title), row.rule, Text(result), uids, row.ack, f"{row.seconds:.1f}"
        )
    return table
