"""What a person does with a held study and with the audit log, by the command line."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from storage_fixtures import (  # noqa: F401 - the fixtures that `sqlite_node` asks for
    KEY,
    NOON,
    STUDY,
    Node,
    add,
    completed,
    instance,
    ready_file_fixture,
    sqlite_node_fixture,
    waiting,
)
from typer.testing import CliRunner

from dicom_node import logs, story
from dicom_node.cli import app
from storage import DeliveryState, StudyState

NODE = """\
node: {ae_title: DICTAMEN, data_dir: ., audit_key_file: audit.key}
intake: {accept_from: anyone}
processors: [{name: chest, bundle: chest, when: {Modality: DX}}]
destinations: {pacs: {kind: folder, path: out}}
"""


@pytest.fixture(name="dictamen")
def dictamen_fixture(sqlite_node: Node, monkeypatch: pytest.MonkeyPatch):
    (sqlite_node.folder / "audit.key").write_bytes(KEY)
    config = sqlite_node.folder / "node.yaml"
    config.write_text(NODE)
    monkeypatch.setattr(logs, "configure", lambda *_, **__: None)
    monkeypatch.setenv("DICTAMEN_CONFIG", str(config))
    return lambda *words: CliRunner().invoke(app, list(words))


def test_two_patients_are_released_only_without_the_other_ones_image(dictamen, sqlite_node: Node):
    storage = sqlite_node.storage
    add(storage, instance(1), instance(2, patient="P2"))
    refused = dictamen("studies", "retry", STUDY)
    assert refused.exit_code == 1
    assert "--without" in refused.output
    shown = json.loads(dictamen("studies", "show", STUDY, "--json").stdout)
    assert len(shown["instances"]) == 2
    assert dictamen("studies", "retry", STUDY, "--without", f"{STUDY}.7.2").exit_code == 0
    assert storage.studies.get(STUDY).state is StudyState.OPEN


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(("studies", "retry", "1.2.3"), id="no such study"),
        pytest.param(("runs", "retry", "99"), id="no such run"),
        pytest.param(("deliveries", "retry", "99"), id="no such delivery"),
        pytest.param(("explain", "1.2.3"), id="nothing to explain"),
    ],
)
def test_what_cannot_be_done_is_said_with_status_1(dictamen, words):
    assert dictamen(*words).exit_code == 1


@pytest.mark.parametrize("listing", [("studies",), ("runs",), ("deliveries",), ("audit",)])
def test_every_listing_speaks_json(dictamen, sqlite_node: Node, listing):
    waiting(sqlite_node.storage)
    assert isinstance(json.loads(dictamen(*listing, "list", "--json").stdout), list)


def test_books_close_and_say_so_in_json(dictamen, sqlite_node: Node):
    waiting(sqlite_node.storage)
    books = json.loads(dictamen("books", "--json").stdout)
    assert (books["received"], books["waiting"], books["difference"]) == (1, 1, 0)


def test_audit_tamper_at_the_end_is_seen_with_a_head_kept_elsewhere(dictamen, sqlite_node: Node):
    waiting(sqlite_node.storage)
    head = json.loads(dictamen("audit", "verify", "--json").stdout)["head"]
    sequence, digest = head.split(":")
    assert dictamen("audit", "verify", "--known", head).exit_code == 0
    assert dictamen("audit", "verify", "--known", f"{int(sequence) + 1}:{digest}").exit_code == 1


def test_what_a_peer_did_not_commit_to_is_listed_and_sent_again(dictamen, sqlite_node: Node):
    storage = sqlite_node.storage
    completed(storage)
    (delivery,) = storage.outbox.claim("pacs", NOON + timedelta(hours=1))
    storage.outbox.record(delivery, DeliveryState.DELIVERED, answer="0x0000", commitment=True)
    number = str(delivery.id)
    assert dictamen("deliveries", "retry", number).exit_code == 1
    shown = json.loads(dictamen("deliveries", "show", number, "--json").stdout)
    assert (shown["state"], shown["commitment"]) == ("delivered", "wanted")
    storage.commitments.missing([delivery.id])
    listed = ("deliveries", "list", "--commitment", "missing", "--json")
    (row,) = json.loads(dictamen(*listed).stdout)
    assert row["commitment_answer"] == "no report after 0 requests"
    assert dictamen("deliveries", "retry", number).exit_code == 0
    assert storage.outbox.get(delivery.id).state is DeliveryState.WAITING


@pytest.mark.parametrize("ending", [None, DeliveryState.HELD], ids=["waiting", "held"])
def test_what_nobody_will_take_is_closed_and_can_be_purged(dictamen, sqlite_node: Node, ending):
    """Its destination was taken out of node.yaml, or a person saw to it by hand."""
    storage = sqlite_node.storage
    completed(storage)
    (known,) = storage.outbox.list()
    if ending:
        (tried,) = storage.outbox.claim("pacs", NOON + timedelta(hours=1))
        storage.outbox.record(tried, ending, answer="AR")
    assert storage.studies.forget(STUDY) == ()
    words = ("deliveries", "close", str(known.id), "--why", "the PACS was replaced")
    assert dictamen(*words).exit_code == 0
    closed = storage.outbox.get(known.id)
    assert closed.state is DeliveryState.GIVEN_UP
    assert closed.answer.endswith(": the PACS was replaced")
    assert len(storage.studies.forget(STUDY)) == 1
    assert dictamen(*words).exit_code == 1


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("en", "commitment: missing (no report after 0 requests)"),
        ("es", "compromiso de custodia: sin respuesta (no report after 0 requests)"),
    ],
)
def test_the_story_of_a_study_says_so(sqlite_node: Node, language: str, words: str):
    storage = sqlite_node.storage
    run = completed(storage)
    (delivery,) = storage.outbox.claim("pacs", NOON + timedelta(hours=1))
    storage.outbox.record(delivery, DeliveryState.DELIVERED, answer="0x0000", commitment=True)
    storage.commitments.missing([delivery.id])
    study = replace(storage.studies.get(run.study_uid), trace=())
    kept = storage.commitments.of([delivery.id])
    lines = story.tell(study, [(run, None)], storage.outbox.list(), language, kept)
    assert lines[-1].endswith(f"(0x0000); {words}")


@pytest.mark.parametrize(
    ("language", "told"),
    [("en", "Pneumonia: absent, probability 8 %"), ("es", "Neumonía: ausente, probabilidad 8 %")],
)
def test_the_story_calls_a_finding_as_the_reports_do(sqlite_node: Node, language: str, told: str):
    finding = {"label": "pneumonia", "state": "absent", "probability": 0.08, "threshold": 0.54}
    finding["code"] = {"value": "233604007", "scheme": "SCT", "meaning": "Pneumonia"}
    run = completed(sqlite_node.storage)
    study = replace(sqlite_node.storage.studies.get(run.study_uid), trace=())
    lines = story.tell(study, [(run, {"findings": [finding]})], [], language, {})
    assert any(line.strip().startswith(told) for line in lines), lines
