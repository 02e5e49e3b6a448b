"""A processor in shadow judges and remembers; nothing of it reaches the outbox, whatever happens.

Real model, real reports, both databases.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO

import pytest
from pydicom.dataset import Dataset
from storage_fixtures import (  # noqa: F401 - the fixtures that `node` asks for
    NOON,
    STUDY,
    Node,
    add,
    columns,
    finish,
    instance,
    node_fixture,
    postgres_node_fixture,
    ready_file_fixture,
    report,
    server_fixture,
    sqlite_node_fixture,
)
from system import films

from config import Settings
from dicom_node import clock, story, strata, wiring, worker
from dicom_node.intake import headers
from dicom_node.shadow import promotion
from dicom_node.shadow.gather import gather
from processors import kinds
from storage import NewInstance, PlannedRun, RunState, Storage

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")


def settings(mode: str) -> Settings:
    chest = {
        "name": "chest",
        "bundle": "chest",
        "when": {"Modality": ["CR", "DX"]},
        "settle": {"expect": {"instances": 1}},
        "send_to": ["disk"],
        "mode": mode,
    }
    return Settings.model_validate_json(
        json.dumps(
            {
                "node": {"ae_title": "DICTAMEN", "audit_key_file": "audit.key", "language": "en"},
                "intake": {"accept_from": "anyone"},
                "processors": [chest],
                "workers": {"device": "cpu"},
                "destinations": {"disk": {"kind": "folder", "path": "out"}},
            }
        )
    )


@pytest.fixture(scope="module", name="judges")
def judges_fixture() -> dict[str, wiring.Judges]:
    return {mode: wiring.judges(settings(mode)) for mode in ("live", "shadow")}


def received(storage: Storage, dataset: Dataset) -> str:
    """A film in the spool and the tables, as intake leaves it; its study's UID."""
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    data = buffer.getvalue()
    sha256 = hashlib.sha256(data).hexdigest()
    new = NewInstance(
        sop_uid=str(dataset.SOPInstanceUID),
        sop_class=str(dataset.SOPClassUID),
        transfer_syntax=str(dataset.file_meta.TransferSyntaxUID),
        series_uid=str(dataset.SeriesInstanceUID),
        identity=headers.identity(dataset),
        sha256=sha256,
        size=len(data),
        path=storage.spool.write("objects", f"{sha256[:2]}/{sha256}.dcm", data),
        calling_ae="PACS",
        called_ae="DICTAMEN",
        address="10.1.2.3",
        headers=headers.of(dataset),
        received_at=NOON,
    )
    storage.studies.add(new, on_conflict="keep_first")
    return str(dataset.StudyInstanceUID)


def work(storage: Storage, judges: wiring.Judges) -> None:
    """The product's worker until nothing is ready any more."""
    stopping, lease = threading.Event(), {"lease": 30.0}
    thread = threading.Thread(target=worker.serve, args=(storage, judges, stopping), kwargs=lease)
    thread.start()
    for _ in range(600):
        counts = storage.runs.counts()
        if not counts[RunState.READY] and not counts[RunState.RUNNING]:
            break
        stopping.wait(0.05)
    stopping.set()
    thread.join()


def test_a_shadow_run_is_remembered_and_sent_nowhere(node: Node, judges) -> None:
    storage = node.storage
    uid = received(storage, films.ill("shadow-1", PatientSex="F", ViewPosition="PA"))
    assert clock.settle(storage, settings("shadow"), NOON).new == 1
    work(storage, judges["shadow"])
    (run,) = storage.runs.list(study_uid=uid)
    assert (run.mode, run.state) == ("shadow", RunState.COMPLETED)
    assert storage.outbox.list(study_uid=uid) == ()
    analysis = storage.runs.analysis(run.id)
    assert analysis is not None
    assert analysis["findings"]
    assert set(analysis["strata"]) == set(strata.VARIABLES)
    assert (analysis["strata"]["sex"], analysis["strata"]["view"]) == ("F", "PA")
    assert {r.kind for r in storage.runs.reports(run.id)} >= {"overlay", "text_report"}
    audited = {r.entry.kind: r.entry for r in storage.audit.list(study_uid=uid)}
    assert audited["run.planned"].details["mode"] == "shadow"
    read = next(e for e in audited.values() if e.event == "110103")
    assert read.details["mode"] == "shadow"
    assert columns(storage) == {"completed": 1}
    assert storage.studies.books(None, None).reasons["completed"] == {"in shadow, sent nowhere": 1}
    told = story.tell(storage.studies.get(uid), [(run, analysis)], (), "en")
    assert any("is in shadow" in line for line in told)
    evidence = gather(storage, "chest")
    assert (evidence.studies, evidence.present["pneumonia"].count) == (1, 1)
    assert promotion.objections(evidence, kinds.algorithm("vae_bundle", "chest")) == ()


def test_an_old_shadow_run_stays_one_after_the_promotion(node: Node, judges) -> None:
    """Neither the clock, nor the same film again, nor a retry sends what was in shadow."""
    storage, film = node.storage, films.lateral("shadow-2")
    uid = received(storage, film)
    clock.settle(storage, settings("shadow"), NOON)
    work(storage, judges["shadow"])
    received(storage, film)
    assert clock.settle(storage, settings("live"), NOON).new == 0
    work(storage, judges["live"])
    (run,) = storage.runs.list(study_uid=uid)
    assert (run.mode, run.state) == ("shadow", RunState.UNSUITABLE)
    assert storage.runs.analysis(run.id)["kind"] == "view"
    assert not storage.runs.retry(run.id, "a person")
    assert storage.outbox.list(study_uid=uid) == ()


def test_a_failed_shadow_run_that_is_retried_after_the_promotion_stays_in_shadow(
    node: Node, judges
) -> None:
    storage = node.storage
    uid = received(storage, films.lateral("shadow-3"))
    clock.settle(storage, settings("shadow"), NOON)
    claimed = storage.runs.claim("host:1")
    finish(storage, claimed, RunState.FAILED, "broken", reports=())
    assert storage.runs.retry(claimed.id, "a person")
    work(storage, judges["live"])
    (run,) = storage.runs.list(study_uid=uid)
    assert (run.mode, run.state) == ("shadow", RunState.UNSUITABLE)
    assert storage.outbox.list(study_uid=uid) == ()


@pytest.mark.parametrize(
    ("now", "mode", "sent"), [("live", "live", True), ("shadow", "shadow", False)]
)
def test_what_was_planned_as_live_is_sent_only_while_the_processor_is(
    node: Node, judges, now: str, mode: str, sent: bool
) -> None:
    storage = node.storage
    uid = received(storage, films.lateral("shadow-4"))
    clock.settle(storage, settings("live"), NOON)
    work(storage, judges[now])
    (run,) = storage.runs.list(study_uid=uid)
    assert run.mode == mode
    assert bool(storage.outbox.list(study_uid=uid)) is sent


def planned(storage: Storage, number: int, mode: str, *, urgent: bool = False) -> int:
    study = f"{STUDY}.{number}"
    add(storage, instance(study=study))
    wanted = [PlannedRun("chest", "d", (f"{study}.7.1",), mode=mode, urgent=urgent)]
    (run,) = storage.studies.plan(study, wanted, trace=[], instances_seen=1, done=True, at=NOON)
    return run.id


def claimed(storage: Storage) -> Iterator[int]:
    while run := storage.runs.claim("host:1"):
        yield run.id


def test_nobody_waits_for_a_shadow_run(node: Node) -> None:
    storage = node.storage
    shadow, live, stat, hurried = (
        planned(storage, 1, "shadow"),
        planned(storage, 2, "live"),
        planned(storage, 3, "live", urgent=True),
        planned(storage, 4, "shadow", urgent=True),
    )
    assert storage.runs.counts("shadow")[RunState.READY] == 2
    assert storage.runs.oldest_ready("live") == storage.runs.oldest_ready()
    assert list(claimed(storage)) == [stat, live, hurried, shadow]


def test_a_run_that_never_ended_is_planned_anew_in_the_mode_of_today(node: Node) -> None:
    storage = node.storage
    run = planned(storage, 1, "shadow")
    study = f"{STUDY}.1"
    more = [PlannedRun("chest", "other", (f"{study}.7.1",))]
    storage.studies.plan(study, more, trace=[], instances_seen=1, done=True, at=NOON)
    again = [PlannedRun("chest", "d", (f"{study}.7.1",), mode="live")]
    (revived,) = storage.studies.plan(study, again, trace=[], instances_seen=1, done=True, at=NOON)
    assert (revived.id, revived.mode) == (run, "live")


def test_a_claim_cannot_turn_a_shadow_run_live(node: Node) -> None:
    """Whatever mode a worker believes in: the tables keep the one of the plan."""
    storage = node.storage
    run = planned(storage, 1, "shadow")
    owned = storage.runs.claim("host:1")
    finish(storage, replace(owned, mode="live"), reports=[report(owned, to=())])
    assert storage.runs.get(run).mode == "shadow"
