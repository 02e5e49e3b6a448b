"""Retention: what goes when its time is over, what never goes before, what the books keep."""

from __future__ import annotations

import json
import os
from datetime import datetime, timedelta

import pytest
from storage_fixtures import (  # noqa: F401 - the fixtures that `node` asks for
    NOON,
    STUDY,
    Node,
    add,
    columns,
    finish,
    instance,
    node_fixture,
    plan,
    postgres_node_fixture,
    ready_file_fixture,
    report,
    server_fixture,
    sqlite_node_fixture,
    waiting,
)

from config import Settings
from dicom_node.clock import purge
from storage import DeliveryState, Identity, NewReport, RunState, Storage, StudyState

DAY = timedelta(days=1)
SETTINGS = Settings.model_validate_json(
    json.dumps(
        {
            "node": {"ae_title": "DICTAMEN", "audit_key_file": "audit.key"},
            "intake": {"accept_from": "anyone"},
            "processors": [],
            "retention": {"studies": "7d", "reports": "30d", "quarantine": "90d"},
        }
    )
)
NOTHING = dict.fromkeys(("studies", "reports", "unfiled", "quarantine", "messages", "patients"), 0)


def purged(storage: Storage, days: float) -> dict[str, int]:
    """What a purge removes so many days after the study came."""
    counts = purge(storage, SETTINGS, NOON + days * DAY)
    return {name: number for name, number in counts.items() if number}


def written(storage: Storage, folder: str, name: str, at: datetime = NOON) -> str:
    path = storage.spool.write(folder, name, name.encode())
    os.utime(storage.spool.path(path), (at.timestamp(), at.timestamp()))
    return path


def judged(node: Node, state: DeliveryState = DeliveryState.DELIVERED) -> NewReport:
    """A study of two images whose only report was sent."""
    storage = node.storage
    for number in (1, 2):
        written(storage, "objects", instance(number).path.removeprefix("objects/"))
    add(storage, instance(2))
    waiting(storage)
    run = storage.runs.claim("worker")
    assert run is not None
    made = report(run)
    written(storage, "reports", made.path.removeprefix("reports/"))
    finish(storage, run, reports=[made])
    (sent,) = storage.outbox.claim("pacs", NOON)
    storage.outbox.record(sent, state, answer="0x0000")
    return made


def who(storage: Storage) -> Identity:
    study = storage.studies.get(STUDY)
    assert study is not None
    return study.identity


def kinds(storage: Storage) -> list[str]:
    return [r.entry.kind for r in storage.audit.list(limit=999) if r.entry.event == "110105"]


def test_a_study_goes_step_by_step(node: Node) -> None:
    storage, made = node.storage, judged(node)
    (run,) = storage.runs.list()
    before = storage.studies.books(None, None)
    assert purged(storage, 6) == {}
    assert purged(storage, 8) == {"studies": 1}
    assert list(storage.spool.listing("objects")) == []
    assert (who(storage).patient_name, storage.runs.analysis(run.id)) != ("", None)
    assert purged(storage, 29) == {}
    assert purged(storage, 31) == {"reports": 1, "patients": 1}
    assert purged(storage, 31) == {}
    assert list(storage.spool.listing("reports")) == []
    assert who(storage) == Identity(STUDY)
    assert storage.runs.analysis(run.id) is None
    assert [delivery.answer for delivery in storage.outbox.list()] == [""]
    assert storage.studies.is_ours(made.uid)
    assert storage.studies.books(None, None) == before
    assert kinds(storage) == ["retention", "retention.reports", "retention.identity"]
    assert storage.audit.verify() == ()
    assert "Muñoz" not in "".join(storage.audit.export("dicom"))
    assert not [row for row in storage.audit.export("dicom") if '"P1"' in row]


@pytest.mark.parametrize(
    "why", ["held delivery", "held study", "an image", "a report", "a newer run"]
)
def test_whom_a_study_is_of_is_known_while_anything_is_left(node: Node, why: str) -> None:
    storage = node.storage
    judged(node, DeliveryState.HELD if why == "held delivery" else DeliveryState.DELIVERED)
    if why == "held study":
        storage.studies.hold(STUDY, "two patients")
    if why != "an image":
        storage.studies.forget(STUDY)
    if why != "a report":
        storage.runs.forget_reports(NOON + 31 * DAY)
    since = NOON if why == "a newer run" else NOON + 31 * DAY
    assert storage.studies.blank(since) == 0
    assert who(storage).patient_id == "P1"


def test_what_comes_again_says_anew_whose_it_is(node: Node) -> None:
    storage = node.storage
    judged(node)
    purged(storage, 8)
    purged(storage, 31)
    assert not add(storage, instance(1, at=NOON + 32 * DAY)).held
    assert who(storage) == instance(1).identity
    assert len(plan(storage, at=NOON + 33 * DAY)) == 1
    assert add(storage, instance(3, patient="P2")).held
    assert [study.state for study in storage.studies.list()] == [StudyState.HELD]


def test_files_that_no_row_names(node: Node) -> None:
    """A worker that was killed before it filed its reports; bytes refused long ago."""
    storage, made = node.storage, judged(node)
    stray = written(storage, "reports", "ab/stray.dcm")
    young = written(storage, "reports", "ab/young.dcm", NOON + 20 * DAY)
    refused = written(storage, "quarantine", "refused.dcm")
    storage.studies.hold(STUDY, "why")
    assert purged(storage, 29) == {}
    storage.studies.release(STUDY, "admin")
    counts = purged(storage, 31)
    assert (counts["unfiled"], counts["reports"]) == (1, 1)
    assert not storage.spool.path(stray).exists()
    assert not storage.spool.path(made.path).exists()
    assert storage.spool.path(young).exists()
    assert storage.spool.path(refused).exists()
    assert purged(storage, 91) == {"unfiled": 1, "quarantine": 1}
    assert not storage.spool.path(refused).exists()
    assert {"retention.unfiled", "retention.quarantine"} <= set(kinds(storage))
    (told,) = [
        r.entry for r in storage.audit.list(limit=999) if r.entry.kind == "retention.quarantine"
    ]
    assert (told.details, told.action) == ({"files": 1}, "D")


def test_a_report_file_of_today_may_belong_to_a_run_that_goes_on(node: Node) -> None:
    short = SETTINGS.model_copy(
        update={"retention": SETTINGS.retention.model_copy(update={"reports": 1.0})}
    )
    fresh = written(node.storage, "reports", "ab/fresh.dcm")
    assert purge(node.storage, short, NOON + timedelta(hours=1)) == NOTHING
    assert node.storage.spool.path(fresh).exists()
    assert columns(node.storage) == {}
    assert node.storage.runs.counts()[RunState.RUNNING] == 0


def test_a_message_file_of_today_may_belong_to_a_row_that_comes(node: Node) -> None:
    storage = node.storage
    old = written(storage, "messages", "aa/old.hl7")
    new = written(storage, "messages", "aa/new.hl7", NOON + 199.5 * DAY)
    assert purged(storage, 200) == {"unfiled": 1}
    assert list(storage.spool.listing("messages")) == [new]
    assert old != new
