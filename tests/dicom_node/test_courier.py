"""The courier: what it checks before a send, what one try means, how its lanes keep apart."""

from __future__ import annotations

import hashlib
import io
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import courier_bench
import pytest
import structlog
from courier_bench import (
    all_delivered,
    audit,
    carry_until,
    change_report,
    file_study,
    of,
    other_patient,
    running,
    states,
    storage_in,
)
from destination_peers import (
    ack,
    closed_port,
    dicom_settings,
    folder_settings,
    mllp_settings,
    pacs,
    ris,
    wait_until,
)
from storage_fixtures import instance

from dicom_node import courier, logs, verdict
from dicom_node.destinations import Destination, Fate, Outcome, Parcel
from dicom_node.destinations.build import build
from storage import (
    Delivery,
    DeliveryState,
    Identity,
    MessageKind,
    NewReport,
    PlannedRun,
    ReportRecord,
    RunState,
    Storage,
    StorageBusy,
    StudyRecord,
)

pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
PATIENCE = timedelta(days=3)


def to_pacs(port: int, **changes: object) -> Destination:
    return build("pacs", dicom_settings(port, **changes), "DICTAMEN")


def to_ris(port: int, **changes: object) -> Destination:
    return build("ris", mllp_settings(port, **changes), "DICTAMEN")


def delivery(**changes: object) -> Delivery:
    record = ReportRecord(1, 1, "overlay", 0, "2.25.1", "", 1, "x", "1.2")
    base = Delivery(
        1, 1, "2.25.7", record, "pacs", DeliveryState.SENDING, 1, NOW, NOW, NOW, None, ""
    )
    return replace(base, **changes)  # type: ignore[arg-type]


# ---- pure -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attempts", "slow", "low", "high"),
    [
        pytest.param(1, False, 0.5, 1, id="first: 1 s"),
        pytest.param(2, False, 1, 2, id="second: 2 s"),
        pytest.param(5, False, 8, 16, id="fifth: 2^4 s"),
        pytest.param(9, False, 128, 256, id="ninth: 2^8 s"),
        pytest.param(10, False, 150, 300, id="tenth: at the cap of 5 min"),
        pytest.param(5000, False, 150, 300, id="after weeks: still the cap"),
        pytest.param(0, False, 0.5, 1, id="not even once"),
        pytest.param(1, True, 300, 900, id="only a person mends it: 5 to 15 min"),
        pytest.param(99, True, 300, 900, id="and no longer"),
    ],
)
def test_backoff(attempts: int, slow: bool, low: float, high: float) -> None:
    found = [verdict.backoff(attempts, slow, random.Random(seed)) for seed in range(50)]
    assert low <= min(found) < max(found) <= high


LATER = Outcome(1, Fate.TRY_LATER, "0xA700", status="0xA700")
AE = Outcome(1, Fate.TRY_LATER, "AE: no", status="AE", refused=True)


@pytest.mark.parametrize(
    ("row", "outcome", "state", "answer"),
    [
        pytest.param({}, Outcome(1, Fate.DELIVERED, "AA"), "delivered", "AA", id="delivered"),
        pytest.param(
            {},
            Outcome(1, Fate.DELIVERED_WITH_WARNING, "0xB000"),
            "delivered",
            "0xB000",
            id="warned",
        ),
        pytest.param({}, Outcome(1, Fate.REJECTED, "0xC000"), "rejected", "0xC000", id="rejected"),
        pytest.param({}, Outcome(1, Fate.HELD, "AR"), "held", "AR", id="held"),
        pytest.param({}, LATER, "waiting", "0xA700", id="later"),
        pytest.param({}, AE, "waiting", "AE: no (refused 1x)", id="first refusal"),
        pytest.param(
            {"attempts": 9, "answer": "AE: no (refused 2x)"},
            AE,
            "waiting",
            "AE: no (refused 3x)",
            id="third refusal",
        ),
        pytest.param(
            {"attempts": 9, "answer": "AE: no (refused 2x)"},
            LATER,
            "waiting",
            "0xA700 (refused 2x)",
            id="a silence between refusals forgets none",
        ),
        pytest.param(
            {"attempts": 1, "answer": "AE: no (refused 3x)"},
            AE,
            "waiting",
            "AE: no (refused 1x)",
            id="a person's retry starts anew",
        ),
        pytest.param(
            {"answer": "before"}, Outcome(1, Fate.TRY_LATER, ""), "waiting", "before", id="untried"
        ),
        pytest.param(
            {"created_at": NOW - PATIENCE}, LATER, "given_up", "given up: 0xA700", id="too old"
        ),
        pytest.param(
            {"created_at": NOW - PATIENCE},
            Outcome(1, Fate.TRY_LATER, ""),
            "waiting",
            "",
            id="too old, but untried",
        ),
        pytest.param(
            {"created_at": NOW - PATIENCE * 2, "first_try": NOW, "answer": "given up: x"},
            LATER,
            "waiting",
            "0xA700",
            id="too old, but sent again by a person",
        ),
        pytest.param(
            {"created_at": NOW - PATIENCE * 2, "first_try": NOW},
            LATER,
            "given_up",
            "given up: 0xA700",
            id="too old behind others that were tried",
        ),
    ],
)
def test_judge_of_a_try(row: dict[str, object], outcome: Outcome, state: str, answer: str) -> None:
    found = verdict.judge(delivery(**row), outcome, NOW, PATIENCE, 7.0)
    assert (found.state.value, found.answer) == (state, answer)
    if outcome.answer and state == "waiting":
        assert found.next_try == NOW + timedelta(seconds=7)


@pytest.mark.parametrize(
    ("outcome", "exported", "event", "level"),
    [
        pytest.param(Outcome(1, Fate.DELIVERED, "0x0000"), False, "110104", 0, id="to a PACS"),
        pytest.param(Outcome(1, Fate.DELIVERED, "AA"), True, "110106", 0, id="exported"),
        pytest.param(LATER, False, "110104", 4, id="waits"),
        pytest.param(Outcome(1, Fate.HELD, "AR"), True, "110106", 8, id="held"),
        pytest.param(
            Outcome(1, Fate.HELD, "x", status=verdict.MISMATCH), False, "110113", 8, id="mismatch"
        ),
    ],
)
def test_audit_entry(outcome: Outcome, exported: bool, event: str, level: int) -> None:
    row = delivery()
    found = verdict.judge(row, outcome, NOW, PATIENCE, 1.0)
    entry = verdict.audit_entry(row, outcome, found, exported=exported)
    assert (entry.event, entry.outcome, entry.details["instances"]) == (event, level, 1)


# ---- with storage and peers -----------------------------------------------------------------


def test_reports_reach_every_destination_and_the_audit_says_so(tmp_path: Path) -> None:
    wanted = [("overlay", ["pacs", "disk"]), ("hl7_oru", ["ris", "disk"])]
    with storage_in(tmp_path / "node") as storage, pacs() as archive, ris() as office:
        uids = file_study(storage, 1, wanted)
        disk = build("disk", folder_settings(tmp_path / "out"), "DICTAMEN")
        peers = {"pacs": to_pacs(archive.port), "ris": to_ris(office.port), "disk": disk}
        beside = carry_until(storage, peers, lambda: all_delivered(storage))
        assert archive.stored == [uids["overlay"]]
        assert office.controls == [uids["hl7_oru"]]
        assert len(list((tmp_path / "out" / "2.25.7001").iterdir())) == 2
        assert beside.count(courier.Event.DELIVERED) == 4
        begun = [row.sequence for row in audit(storage, "110102")]
        (gone,) = [row for row in audit(storage, "110104") if "destination" in row.entry.details]
        assert begun
        assert begun[0] < gone.sequence
        assert gone.entry.details["status"] == "0x0000"
        assert gone.entry.details["instances"] == 1
        assert len([row for row in audit(storage, "110106") if row.entry.action == "R"]) == 3
        assert storage.audit.verify() == ()


def test_one_dead_destination_delays_no_other(tmp_path: Path) -> None:
    """The RIS accepts connections and says nothing; the PACS must not notice."""
    with storage_in(tmp_path) as storage, pacs() as archive, ris(lambda m, n: None) as office:
        for number in range(1, 6):
            file_study(storage, number)
        peers = {"ris": to_ris(office.port, timeout="20s"), "pacs": to_pacs(archive.port)}
        started = time.monotonic()
        with running(storage, peers):
            wait_until(lambda: len(archive.stored) == 10, 15)
            took = time.monotonic() - started
            office.hang_up()  # so that the stop need not wait for the RIS
    assert took < 6  # the RIS alone would take 20
    assert len(office.messages) == 1


@pytest.mark.parametrize(
    ("harm", "state", "words"),
    [
        pytest.param(lambda b: b + b"\0", "held", "damaged", id="a byte more"),
        pytest.param(lambda b: b[:-1], "held", "damaged", id="a byte less"),
        pytest.param(None, "held", "cannot be read", id="file gone"),
    ],
)
def test_damaged_report_is_held(
    tmp_path: Path, harm: Callable[[bytes], bytes] | None, state: str, words: str
) -> None:
    with storage_in(tmp_path) as storage, pacs() as archive:
        uids = file_study(storage, 1, [("overlay", ["pacs"]), ("structured_report", ["pacs"])])
        row = of(storage, uids["overlay"])
        if harm is None:
            storage.spool.remove(row.report.path)
        else:
            change_report(storage, row, harm(storage.spool.read(row.report.path)))
        carry_until(storage, {"pacs": to_pacs(archive.port)}, lambda: len(states(storage)) == 2)
        found = of(storage, uids["overlay"])
        assert (found.state.value, words in found.answer) == (state, True)
        assert archive.stored == [uids["structured_report"]]


@pytest.mark.parametrize(
    ("kind", "peer"), [pytest.param("overlay", "pacs"), pytest.param("hl7_oru", "ris")]
)
def test_another_patients_report_is_never_sent(tmp_path: Path, kind: str, peer: str) -> None:
    """The bytes are as they were written, but they are another patient's."""
    with storage_in(tmp_path) as storage, pacs() as archive, ris() as office:
        uid = file_foreign(storage, kind, peer)
        peers = {"pacs": to_pacs(archive.port), "ris": to_ris(office.port)}
        beside = carry_until(storage, peers, lambda: states(storage)["held"] == 1)
        assert archive.stored == []
        assert office.messages == []
        assert of(storage, uid).answer == "not sent: differs from the study in patient_id"
        (alert,) = audit(storage, "110113")
        assert alert.entry.outcome == 8
        assert alert.entry.details["report"] == uid
        assert beside.count(courier.Event.MISMATCH) == 1


def correct_name(storage: Storage, name: str = "Peña Gil^José") -> None:
    """A document of the same study arrives that no processor reads, and says the name better."""
    whose = Identity("2.25.7001", "P-1", "", name, "19700101", "A-1")
    said = {"SpecificCharacterSet": "ISO_IR 192", "Modality": "SR"}
    new = instance(9, study="2.25.7001", identity=whose, headers=said)
    assert storage.studies.add(new, on_conflict="keep_first").held == ""


def test_a_report_of_a_name_corrected_since_is_written_again_by_a_run(tmp_path: Path) -> None:
    """The PACS was away when it was made. Nobody could have it sent: neither retry helps."""
    with storage_in(tmp_path) as storage, pacs() as archive, ris() as office:
        uids = file_study(storage, 1, [("overlay", ["pacs"]), ("hl7_oru", ["ris"])])
        correct_name(storage)
        peers = {"pacs": to_pacs(archive.port), "ris": to_ris(office.port)}
        carry_until(storage, peers, lambda: states(storage)["rejected"] == 2)
        assert archive.stored == office.messages == []
        old, new = storage.runs.list()
        words = f"not sent: patient_name of the study changed since; run {new.id} writes it again"
        assert {of(storage, uid).answer for uid in uids.values()} == {words}
        assert audit(storage, "110113") == []
        assert (new.instances, new.predecessor) == (old.instances, None)  # nothing of it came
        planned = [PlannedRun("chest", old.digest, old.instances)]  # the study settles again
        storage.studies.plan(
            old.study_uid, planned, trace=(), instances_seen=2, done=True, at=datetime.now(UTC)
        )
        claimed = storage.runs.claim("worker")
        assert claimed is not None
        assert claimed.id == new.id
        assert storage.runs.claim("worker") is None


def test_an_older_message_is_not_sent_after_the_newer_one(tmp_path: Path) -> None:
    """Held by the RIS, sent again by a person when another result had gone: it would hold."""

    with (
        storage_in(tmp_path) as storage,
        ris(lambda message, count: ack(message, "AR" if count == 1 else "AA")) as office,
    ):
        file_study(storage, 1, [("hl7_oru", ["ris"])])
        peers = {"ris": to_ris(office.port)}
        carry_until(storage, peers, lambda: states(storage)["held"])
        (held,) = storage.outbox.list()
        again = [PlannedRun("chest", "of more images", ("2.25.7001.1.1",))]
        storage.studies.plan(
            held.study_uid, again, trace=(), instances_seen=1, done=True, at=datetime.now(UTC)
        )
        newer = storage.runs.claim("worker")
        assert newer is not None
        made = courier_bench.report(storage, newer.study_uid, 1, "hl7_oru", ["ris"])
        storage.runs.finish(newer, state=RunState.COMPLETED, reason="", analysis={}, reports=[made])
        carry_until(storage, peers, lambda: states(storage)["delivered"])
        assert storage.outbox.retry(held.id, "a person")
        carry_until(storage, peers, lambda: states(storage)["rejected"])
        found = storage.outbox.get(held.id)
        assert found is not None
        assert found.answer == f"not sent: run {newer.id}, newer, has been delivered there already"
        assert len(office.messages) == 2


def test_what_rests_on_an_image_that_was_left_out_stays_here(tmp_path: Path) -> None:
    """Given up, its image another patient's, and then a person has it sent again."""
    with storage_in(tmp_path) as storage, pacs() as archive:
        file_study(storage, 1, [("overlay", ["pacs"])])
        (waiting,) = storage.outbox.list()
        (tried,) = storage.outbox.claim("pacs", datetime.now(UTC))
        storage.outbox.record(tried, DeliveryState.GIVEN_UP, answer="no connection")
        storage.studies.hold(waiting.study_uid, "an image of another patient")
        assert storage.studies.exclude(waiting.study_uid, f"{waiting.study_uid}.1.1", "admin")
        assert storage.studies.release(waiting.study_uid, "admin")
        assert storage.outbox.retry(waiting.id, "admin")
        peers = {"pacs": to_pacs(archive.port)}
        carry_until(storage, peers, lambda: states(storage)["rejected"])
        assert archive.stored == []
        (refused,) = storage.outbox.list()
        assert refused.answer == "not sent: an image that it rests on was left out"


def test_a_draft_is_not_sent_after_the_final_report(tmp_path: Path) -> None:
    """The RIS was away while the report was signed: the draft would stand behind it."""
    with storage_in(tmp_path) as storage, ris() as office:
        file_study(storage, 1, [("overlay", [])])
        (study,) = storage.studies.list()
        dictated = courier_bench.message(study, MessageKind.FINDINGS)
        assert storage.inbox.add(dictated).message.run_id
        draft = storage.runs.claim("worker")
        assert draft is not None
        made = courier_bench.report(storage, study.uid, 1, "hl7_oru", ["ris"])
        storage.runs.finish(draft, state=RunState.COMPLETED, reason="", analysis={}, reports=[made])
        storage.inbox.add(courier_bench.message(study, MessageKind.FINAL))
        peers = {"ris": to_ris(office.port)}
        carry_until(storage, peers, lambda: states(storage)["rejected"])
        assert office.messages == []
        (refused,) = storage.outbox.list()
        assert refused.answer == "not sent: the final report came meanwhile"


def test_a_writer_that_says_another_name_again_is_stopped(tmp_path: Path) -> None:
    with storage_in(tmp_path) as storage, pacs() as archive:
        file_study(storage, 1, [("overlay", ["pacs"])])
        correct_name(storage)
        carry_until(storage, {"pacs": to_pacs(archive.port)}, lambda: states(storage)["rejected"])
        again = storage.runs.claim("worker")
        assert again is not None
        made = courier_bench.report(storage, again.study_uid, 0, "overlay", ["pacs"])
        storage.runs.finish(again, state=RunState.COMPLETED, reason="", analysis={}, reports=[made])
        carry_until(storage, {"pacs": to_pacs(archive.port)}, lambda: states(storage)["held"])
        (alert,) = audit(storage, "110113")
        assert alert.entry.details["run"] == again.id
        assert len(storage.runs.list()) == 2


def file_foreign(storage: Storage, kind: str, peer: str) -> str:
    """As if the writer had made it of another patient: the recorded digest fits."""
    real = courier_bench.report

    def foreign(
        storage: Storage, study: str, place: int, kind: str, to: Sequence[str]
    ) -> NewReport:
        made = real(storage, study, place, kind, to)
        payload = other_patient(storage.spool.read(made.path))
        storage.spool.path(made.path).write_bytes(payload)
        return replace(made, sha256=hashlib.sha256(payload).hexdigest())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(courier_bench, "report", foreign)
        return file_study(storage, 1, [(kind, [peer])])[kind]


def test_kind_that_a_peer_cannot_carry_is_rejected(tmp_path: Path) -> None:
    with storage_in(tmp_path) as storage, pacs() as archive:
        uids = file_study(storage, 1, [("hl7_oru", ["pacs"])])
        peers = {"pacs": to_pacs(archive.port)}
        carry_until(storage, peers, lambda: states(storage)["rejected"] == 1)
        assert "carries no hl7_oru" in of(storage, uids["hl7_oru"]).answer


def test_unconfigured_destination_stays_waiting_and_is_said(tmp_path: Path) -> None:
    with storage_in(tmp_path) as storage, pacs() as archive:
        uids = file_study(storage, 1, [("overlay", ["old-pacs", "pacs"])])
        peers = {"pacs": to_pacs(archive.port)}
        beside = carry_until(storage, peers, lambda: states(storage)["delivered"] == 1)
        assert beside.count(courier.Event.NOT_CONFIGURED) == 1
        waiting = storage.outbox.list(destination="old-pacs")
        assert [each.state for each in waiting] == [DeliveryState.WAITING]
        assert archive.stored == [uids["overlay"]]


class Scripted:
    """A destination that does what a test says."""

    def __init__(self, act: Callable[[Sequence[Parcel]], tuple[Outcome, ...]]) -> None:
        self.name = "pacs"
        self.seen: list[tuple[str, ...]] = []
        self._act = act

    def carries(self, kind: str) -> bool:
        return True

    def close(self) -> None:
        return

    def probe(self) -> str:
        return ""

    def send(self, parcels: Sequence[Parcel], stopping: Callable[[], bool]) -> tuple[Outcome, ...]:
        self.seen.append(tuple(each.uid for each in parcels))
        return self._act(parcels)


ONE = (("overlay", ["pacs"]),)


def test_stop_gives_back_what_was_claimed(tmp_path: Path) -> None:
    with storage_in(tmp_path) as storage, pacs() as archive:
        for number in range(1, 4):
            file_study(storage, number, ONE)
        entered, go = threading.Event(), threading.Event()

        def block(parcels: Sequence[Parcel]) -> tuple[Outcome, ...]:
            entered.set()
            go.wait(10)
            done = Outcome(parcels[0].delivery_id, Fate.DELIVERED, "0x0000")
            rest = [Outcome(each.delivery_id, Fate.TRY_LATER, "") for each in parcels[1:]]
            return (done, *rest)

        with running(storage, {"pacs": Scripted(block)}) as beside:
            assert entered.wait(10)
            assert states(storage)["sending"] == 3
            beside.stopping.set()
            go.set()
        assert states(storage) == {"delivered": 1, "waiting": 2}
        carry_until(storage, {"pacs": to_pacs(archive.port)}, lambda: all_delivered(storage))


def test_a_bug_in_a_sender_ends_no_lane(tmp_path: Path) -> None:
    def stumble(parcels: Sequence[Parcel]) -> tuple[Outcome, ...]:
        if any(each.uid.startswith("2.25.7001") for each in parcels):
            raise ZeroDivisionError("a patient's name might stand here")
        return tuple(Outcome(each.delivery_id, Fate.DELIVERED, "0x0000") for each in parcels)

    with storage_in(tmp_path) as storage:
        for number in range(1, 4):
            file_study(storage, number, ONE)
        beside = carry_until(
            storage, {"pacs": Scripted(stumble)}, lambda: states(storage)["delivered"] == 2
        )
        (stuck,) = storage.outbox.list(state=DeliveryState.WAITING)
        assert stuck.answer == "internal error: ZeroDivisionError"
        assert beside.count(courier.Event.FAILED) >= 1


def test_study_held_after_the_claim_is_not_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with storage_in(tmp_path) as storage, pacs() as archive:
        file_study(storage, 1, ONE)
        real = storage.outbox.claim

        def claim_then_hold(*arguments: object, **named: object) -> tuple[Delivery, ...]:
            found = real(*arguments, **named)  # type: ignore[arg-type]
            if found:
                storage.studies.hold("2.25.7001", "two patients")
            return found

        monkeypatch.setattr(storage.outbox, "claim", claim_then_hold)
        with running(storage, {"pacs": to_pacs(archive.port)}):
            wait_until(lambda: storage.studies.get("2.25.7001").state == "held")  # type: ignore[union-attr]
            wait_until(lambda: states(storage)["waiting"] == 1)
        assert archive.stored == []


def test_gives_up_after_its_time_and_goes_again_on_a_persons_word(tmp_path: Path) -> None:
    with storage_in(tmp_path, age=timedelta(days=4)) as storage, closed_port() as port:
        for number in range(1, 31):
            file_study(storage, number, ONE)
    with storage_in(tmp_path) as storage, pacs() as archive:
        peers = {"pacs": to_pacs(port)}
        beside = carry_until(storage, peers, lambda: states(storage)["given_up"] == 30)
        assert beside.count(courier.Event.GIVEN_UP) == 30
        first = storage.outbox.list(limit=1000)[0]
        assert first.answer.startswith("given up: no connection to PACS")
        assert storage.outbox.retry(first.id, "a person")
        carry_until(
            storage, {"pacs": to_pacs(archive.port)}, lambda: states(storage)["delivered"] == 1
        )


def test_unrecorded_success_is_recorded_when_the_database_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A busy database after a send must not send twice."""
    with storage_in(tmp_path) as storage, pacs() as archive:
        file_study(storage, 1, ONE)
        real, failures = storage.outbox.record_all, [StorageBusy("locked"), StorageBusy("locked")]

        def busy(*arguments: object, **named: object) -> tuple[Delivery, ...]:
            if failures:
                raise failures.pop()
            return real(*arguments, **named)  # type: ignore[arg-type]

        monkeypatch.setattr(storage.outbox, "record_all", busy)
        carry_until(storage, {"pacs": to_pacs(archive.port)}, lambda: all_delivered(storage))
        assert len(archive.stored) == 1
        assert not failures


@pytest.mark.parametrize("fault", ["database", "sender"])
def test_what_was_delivered_before_a_batch_broke_off_is_not_sent_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """Each of these is a send of its own; the second one stumbles, once."""
    monkeypatch.setattr(courier, "HELD_BYTES", 1)
    failures: list[Exception] = [StorageBusy("locked") if fault == "database" else KeyError("x")]

    def deliver(parcels: Sequence[Parcel]) -> tuple[Outcome, ...]:
        if fault == "sender" and len(peer.seen) == 2 and failures:
            raise failures.pop()
        return tuple(Outcome(each.delivery_id, Fate.DELIVERED, "0x0000") for each in parcels)

    with storage_in(tmp_path) as storage:
        peer, real = Scripted(deliver), storage.studies.get
        for number in range(1, 4):
            file_study(storage, number, ONE)

        def busy(uid: str) -> StudyRecord | None:
            if fault == "database" and peer.seen and failures:
                raise failures.pop()
            return real(uid)

        monkeypatch.setattr(storage.studies, "get", busy)
        carry_until(storage, {"pacs": peer}, lambda: all_delivered(storage))
        assert not failures
        assert [uid for (uid,) in peer.seen].count("2.25.7001.9.0") == 1


def test_no_patient_in_any_log_line(tmp_path: Path) -> None:
    stream = io.StringIO()
    logs.configure("json", b"key", process="courier", stream=stream)
    try:
        with (
            storage_in(tmp_path) as storage,
            pacs(lambda uid, n: 0xA700) as archive,
            ris(lambda m, n: ack(m, "AR", text="PEÑA JOSE P-1 19700101 unknown")) as office,
        ):
            file_study(storage, 1)
            file_foreign_second(storage)
            peers = {"pacs": to_pacs(archive.port), "ris": to_ris(office.port)}
            carry_until(storage, peers, lambda: states(storage)["held"] >= 2)
    finally:
        structlog.reset_defaults()
    text = stream.getvalue().lower()
    assert courier.Event.HELD in text
    for planted in ("pe\\u00f1a", "peña", "jose", "p-1", "p-2", "19700101", "2.25.700"):
        assert planted not in text


def file_foreign_second(storage: Storage) -> None:
    uids = file_study(storage, 2, [("overlay", ["pacs"])])
    row = of(storage, uids["overlay"])
    change_report(storage, row, other_patient(storage.spool.read(row.report.path)))


def test_courier_never_loads_torch() -> None:
    code = (
        "import dicom_node.courier, dicom_node.destinations.build, sys;"
        "sys.exit(any(n in sys.modules for n in ('torch', 'monai', 'onnxruntime')))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, timeout=120)
    assert done.returncode == 0
