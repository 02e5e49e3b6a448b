"""What a person does with received reports, by the command line."""

from __future__ import annotations

import csv
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from inbox_lab import findings, impression, oru
from storage_fixtures import (  # noqa: F401 - the fixtures that `sqlite_node` asks for
    KEY,
    NOON,
    Node,
    add,
    instance,
    ready_file_fixture,
    sqlite_node_fixture,
)
from typer.testing import CliRunner

from config import load
from dicom_node import comparison, drafts, logs, wiring
from dicom_node.cli import app
from dicom_node.inbox import desk as desks
from storage import Identity, MessageState

NODE = """\
node: {ae_title: DICTAMEN, data_dir: ., audit_key_file: audit.key, language: es}
intake:
  accept_from: anyone
  disk_reserve: 1KiB
  mllp: {listen: "127.0.0.1:2575", accept_from: anyone}
processors: []
"""
STUDY = "1.2.3"


@pytest.fixture(name="dictamen")
def dictamen_fixture(sqlite_node: Node, monkeypatch: pytest.MonkeyPatch):
    (sqlite_node.folder / "audit.key").write_bytes(KEY)
    config = sqlite_node.folder / "node.yaml"
    config.write_text(NODE)
    monkeypatch.setattr(logs, "configure", lambda *_, **__: None)
    monkeypatch.setenv("DICTAMEN_CONFIG", str(config))
    return lambda *words: CliRunner().invoke(app, list(words))


def take(node: Node, *messages: str) -> None:
    settings = load(node.folder / "node.yaml", {})
    assert settings.intake.mllp is not None
    desk = desks.Desk(settings, settings.intake.mllp, node.storage, lambda _event: None)
    for message in messages:
        assert desks.take(desk, message.encode(), "10.1.2.4").code == "AA"
    scribe = wiring.scribe(settings)
    while (run := node.storage.runs.claim("worker")) is not None:
        {"impressions": drafts.run, "agreement": comparison.run}[run.processor](
            node.storage, run, scribe
        )


def image(node: Node, birth: str) -> None:
    who = Identity(STUDY, "P1", "HOSPITAL", "Muñoz^Ángela", birth, "A1")
    add(node.storage, instance(study=STUDY, identity=who, at=NOON))


def test_a_held_message_is_listed_and_taken_once_the_study_is_right(
    dictamen: Any, sqlite_node: Node
) -> None:
    image(sqlite_node, "19800101")
    take(sqlite_node, oru(findings("Cardiomegalia."), study=STUDY))
    listed = json.loads(dictamen("impressions", "messages", "--state", "held", "--json").stdout)
    assert [row["reason"] for row in listed] == [
        "the message gives another birth date than its study"
    ]
    number = str(listed[0]["message"])
    refused = dictamen("impressions", "retry", number)
    assert (refused.exit_code, "stays held" in refused.output) == (1, True)
    sqlite_node.sql("UPDATE studies SET birth_date = '19700101'")
    assert "taken" in dictamen("impressions", "retry", number).output
    assert sqlite_node.storage.inbox.list()[0].state is MessageState.TAKEN
    assert dictamen("impressions", "retry", number).exit_code == 1


def test_a_held_message_that_was_sent_right_since_is_closed(
    dictamen: Any, sqlite_node: Node
) -> None:
    image(sqlite_node, "19800101")
    take(sqlite_node, oru(findings("Cardiomegalia."), study=STUDY))
    (held,) = sqlite_node.storage.inbox.list(state=MessageState.HELD)
    words = ("impressions", "close", str(held.id), "--why", "sent again with its birth date")
    assert dictamen(*words).exit_code == 0
    (closed,) = sqlite_node.storage.inbox.list()
    assert closed.state is MessageState.CLOSED
    assert closed.reason.endswith(": sent again with its birth date")
    later = held.received_at + timedelta(days=1)
    assert sqlite_node.storage.inbox.forget(later) == (held.path,)
    assert dictamen(*words).exit_code == 1
    assert dictamen("impressions", "retry", str(held.id)).exit_code == 1


def test_agreement_and_corrections(dictamen: Any, sqlite_node: Node, tmp_path: Path) -> None:
    said = findings("Neumotórax izquierdo. Derrame pleural derecho.")
    take(sqlite_node, oru(said, study=STUDY))
    take(sqlite_node, oru(said, impression("Neumotórax izquierdo."), study=STUDY, status="F"))
    found = json.loads(dictamen("impressions", "agreement", "--json").stdout)
    assert found["overall"]["reports"] == 1
    assert (found["overall"]["both"], found["overall"]["removed"]) == (1, 1)
    page = tmp_path / "page.html"
    shown = dictamen("impressions", "agreement", "--html", str(page))
    assert "derrame pleural" in shown.output
    assert "Borradores" in page.read_text(encoding="utf-8")
    none = json.loads(
        dictamen("impressions", "agreement", "--until", "2020-01-01", "--json").stdout
    )
    assert none["overall"] is None
    pairs = tmp_path / "pairs.csv"
    assert "1 pairs" in dictamen("impressions", "corrections", "--out", str(pairs)).output
    with pairs.open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["findings"] == "Neumotórax izquierdo. Derrame pleural derecho."
    assert row["impression"] == "Neumotórax izquierdo."
    again = dictamen("impressions", "corrections", "--out", str(pairs))
    assert (again.exit_code, "exists already" in again.output) == (1, True)
