"""Storage commitment with real peers: asked of a PACS, answered at our door, what fails of it."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import intake_lab as lab
import pytest
from courier_bench import Running, audit, file_study, running, states, storage_in
from destination_peers import SC, SR, VERIFICATION, all_syntaxes, closed_port, dicom_settings, pacs
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import generate_uid
from pynetdicom import AE, build_role, evt
from pynetdicom.sop_class import StorageCommitmentPushModel, StorageCommitmentPushModelInstance

from config.settings import Settings
from dicom_node.commitment import EventName, asking, box, line
from dicom_node.commitment import running as committing
from dicom_node.destinations.build import build
from storage import DeliveryState, Storage

ORTHANC = shutil.which("Orthanc", path="/usr/sbin:/usr/bin")
PUSH, INSTANCE = str(StorageCommitmentPushModel), str(StorageCommitmentPushModelInstance)
TWO = (("overlay", ["pacs"]), ("structured_report", ["pacs"]))
TAKES = all_syntaxes([SC, SR, VERIFICATION, PUSH])
NO_SUCH = 0x0112


def _settings(folder: Path, port: int, node: Settings | None = None, **changes: Any) -> Settings:
    """A node that asks the PACS at this port for commitment."""
    base = node or lab.settings_for(folder, lab.free_port())
    wanted = {"commitment": True, "commitment_wait": "2s", "timeout": "5s"} | changes
    return base.model_copy(update={"destinations": {"pacs": dicom_settings(port, **wanted)}})


@contextmanager
def _carrying(settings: Settings, storage: Storage) -> Iterator[Running]:
    """Courier and commitment, as the courier's process runs them."""
    peer = build("pacs", settings.destinations["pacs"], "DICTAMEN")
    with running(storage, {"pacs": peer}, committing=["pacs"]) as beside:
        committing.run(settings, storage, beside.stopping, beside.events.append)
        yield beside


def _commitments(storage: Storage) -> dict[str, int]:
    return {state.value: count for (_, state), count in storage.commitments.counts().items()}


class Archive:
    """A PACS that is asked. answer: (UID, how often it came) -> failure reason, 0, or None."""

    def __init__(self, answer: Callable[[str, int], int | None], status: int = 0x0000) -> None:
        self.answer, self.status = answer, status
        self.asked: list[str] = []
        self.requests = 0

    def handlers(self) -> list[Any]:
        return [(evt.EVT_N_ACTION, self._asked)]

    def _asked(self, event: evt.Event) -> tuple[int, None]:
        self.requests += 1
        information = event.action_information
        report = Dataset()
        report.TransactionUID = information.TransactionUID
        kept, failed = [], []
        for item in information.ReferencedSOPSequence:
            self.asked.append(str(item.ReferencedSOPInstanceUID))
            reason = self.answer(self.asked[-1], self.asked.count(self.asked[-1]))
            if reason is None:  # says nothing
                return self.status, None
            if reason:
                item.FailureReason = reason
                failed.append(item)
            else:
                kept.append(item)
        if kept:
            report.ReferencedSOPSequence = Sequence(kept)
        if failed:
            report.FailedSOPSequence = Sequence(failed)
        threading.Thread(target=self._tell, args=(event.assoc, report, 2 if failed else 1)).start()
        return self.status, None

    def _tell(self, assoc: Any, report: Dataset, event_type: int) -> None:
        time.sleep(1.0)  # after the answer to the request
        assoc.send_n_event_report(report, event_type, PUSH, INSTANCE)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine may take a while to report; the association is kept until it did."""
    monkeypatch.setattr(line, "LINGER", 20.0)


@pytest.mark.usefixtures("patient")
def test_commit_missing_first_then_kept(tmp_path: Path) -> None:
    """What the PACS lists as failed is sent again under the same UID, and then committed to."""
    archive = Archive(lambda uid, count: NO_SUCH if uid.endswith(".9.0") and count == 1 else 0)
    with (
        storage_in(tmp_path) as storage,
        pacs(takes=TAKES, handlers=archive.handlers()) as peer,
    ):
        uids = list(file_study(storage, 1, TWO).values())
        with _carrying(_settings(tmp_path, peer.port), storage) as beside:
            assert lab.eventually(lambda: _commitments(storage) == {"committed": 2}, 30)
        assert peer.stored == [*uids, uids[0]]
        assert beside.count(EventName.SENT_AGAIN) == 1
        kinds = [row.entry.kind for row in audit(storage, "110104")]
        assert kinds.count("commitment.failed") == 1
        assert kinds.count("commitment.committed") == 2


@pytest.mark.usefixtures("patient")
def test_commit_missing_for_ever_needs_a_person(tmp_path: Path) -> None:
    archive = Archive(lambda uid, _: NO_SUCH if uid.endswith(".9.0") else 0)
    with (
        storage_in(tmp_path) as storage,
        pacs(takes=TAKES, handlers=archive.handlers()) as peer,
    ):
        uids = list(file_study(storage, 1, TWO).values())
        with _carrying(_settings(tmp_path, peer.port), storage) as beside:
            assert lab.eventually(
                lambda: _commitments(storage) == {"committed": 1, "refused": 1}, 60
            )
            assert beside.count(EventName.REFUSED) == 1
        assert peer.stored.count(uids[0]) == asking.MOST_REFUSED
        assert states(storage) == {"delivered": 2}
        (row,) = [r for r in audit(storage, "110104") if r.entry.kind == "commitment.refused"]
        assert (row.entry.outcome, row.entry.details["answer"]) == (8, "not committed: 0x0112")


def test_commit_missing_without_a_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked again and again, bounded; our copy is kept; then a line for a person."""
    monkeypatch.setattr(asking, "MOST_ASKED", 2)
    monkeypatch.setattr(line, "LINGER", 0.1)
    archive = Archive(lambda *_: None)
    with (
        storage_in(tmp_path) as storage,
        pacs(takes=TAKES, handlers=archive.handlers()) as peer,
    ):
        file_study(storage, 1, TWO)
        settings = _settings(tmp_path, peer.port, commitment_wait="500ms")
        with _carrying(settings, storage) as beside:
            assert lab.eventually(lambda: _commitments(storage) == {"missing": 2}, 40)
            assert beside.count(EventName.MISSING) == 1
        assert archive.requests == 2
        assert len(set(peer.stored)) == len(peer.stored) == 2  # nothing was sent again for it
        assert storage.runs.forget_reports(datetime.now(UTC)) == ()
        delivery = storage.outbox.list()[0]
        assert storage.outbox.retry(delivery.id, "person")


@pytest.mark.parametrize(
    ("takes", "status", "why"),
    [
        pytest.param(all_syntaxes([SC, SR, VERIFICATION]), 0, "no part in", id="no such class"),
        pytest.param(TAKES, 0x0110, "0x0110", id="refuses the request"),
    ],
)
def test_commit_missing_because_the_peer_takes_no_question(
    takes: dict[str, list[str]], status: int, why: str, tmp_path: Path
) -> None:
    archive = Archive(lambda *_: None, status)
    with storage_in(tmp_path) as storage, pacs(takes=takes, handlers=archive.handlers()) as peer:
        file_study(storage, 1, TWO)
        with _carrying(_settings(tmp_path, peer.port), storage) as beside:
            assert lab.eventually(lambda: beside.count(EventName.NOT_ASKED) >= 1, 30)
        assert states(storage) == {"delivered": 2}
        found = storage.commitments.of([one.id for one in storage.outbox.list()])
        assert {one.asked for one in found.values()} == {1}
        assert all(why in one.answer for one in found.values())


def test_a_peer_that_is_away_costs_no_question(tmp_path: Path) -> None:
    with storage_in(tmp_path) as storage, closed_port() as port:
        file_study(storage, 1, TWO)
        for delivery in storage.outbox.claim("pacs", datetime.now(UTC)):
            storage.outbox.record(
                delivery, DeliveryState.DELIVERED, answer="0x0000", commitment=True
            )
        with _carrying(_settings(tmp_path, port), storage) as beside:
            assert lab.eventually(lambda: beside.count(EventName.NOT_ASKED) >= 2, 30)
        found = storage.commitments.of([one.id for one in storage.outbox.list()])
        assert {one.asked for one in found.values()} == {0}


# ---- at our door ----------------------------------------------------------------------------
@contextmanager
def _house(folder: Path, port: int) -> Iterator[tuple[lab.Node, Running]]:
    """A node whose peer PACS hears reports at this port, with a courier beside it."""
    senders = [{"ae_title": "PACS", "host": "127.0.0.1", "port": port}, {"ae_title": "PROBE"}]
    with lab.running(folder, accept_from=senders) as node:
        storage = node.storage
        with _carrying(_settings(folder, port, node.settings), storage) as beside:
            yield node, beside


def _request(*instances: tuple[str, str]) -> Dataset:
    made = Dataset()
    made.TransactionUID = generate_uid()
    items = []
    for sop_class, sop_uid in instances:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, sop_uid
        items.append(item)
    made.ReferencedSOPSequence = Sequence(items)
    return made


def _ask(node: lab.Node, request: Dataset, *, calling: str = "PACS", to: str = INSTANCE) -> int:
    with lab.associated(node, {PUSH: []}, calling=calling) as assoc:
        status, _ = assoc.send_n_action(request, 1, PUSH, to)
        return int(status.Status)


@contextmanager
def _listening() -> Iterator[tuple[int, list[Dataset]]]:
    """A modality that hears reports on associations that others open; its port."""
    heard: list[Dataset] = []

    def hear(event: evt.Event) -> tuple[int, None]:
        information = event.event_information
        information.EventType = event.event_type  # type: ignore[attr-defined]
        heard.append(information)
        return 0x0000, None

    entity = AE("PACS")
    entity.add_supported_context(PUSH, scu_role=True, scp_role=True)
    server = entity.start_server(
        ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_N_EVENT_REPORT, hear)]
    )
    try:
        yield server.server_address[1], heard
    finally:
        entity.shutdown()


@pytest.mark.filterwarnings("ignore:Camel case attribute")
def test_our_door_says_what_it_holds(tmp_path: Path) -> None:
    with _listening() as (port, heard), _house(tmp_path, port) as (node, beside):
        kept, gone = lab.data_set(), lab.data_set(StudyInstanceUID=generate_uid())
        assert lab.send(node, kept, gone) == [0, 0]
        node.stored()[gone.SOPInstanceUID].unlink()
        request = _request(
            (lab.CT, kept.SOPInstanceUID), (lab.DX, kept.SOPInstanceUID),
            (lab.CT, gone.SOPInstanceUID), (lab.CT, "1.2.3.4.5"),
        )  # fmt: skip
        assert _ask(node, request) == 0x0000
        assert lab.eventually(lambda: bool(heard), 30)
        (report,) = heard
        assert report.TransactionUID == request.TransactionUID
        (one,) = report.ReferencedSOPSequence
        assert one.ReferencedSOPInstanceUID == kept.SOPInstanceUID
        reasons = [
            (
                str(item.ReferencedSOPClassUID),
                str(item.ReferencedSOPInstanceUID),
                item.FailureReason,
            )
            for item in report.FailedSOPSequence
        ]
        assert reasons == [
            (lab.DX, kept.SOPInstanceUID, 0x0119),
            (lab.CT, gone.SOPInstanceUID, 0x0112),
            (lab.CT, "1.2.3.4.5", 0x0112),
        ]
        assert lab.eventually(lambda: beside.count(EventName.ANSWERED) == 1)
        assert list(box.letters(node.storage.spool)) == []
        (entry,) = [e for e in node.audit("110104") if e.kind == "commitment.answered"]
        assert (entry.who, entry.details["kept"], entry.details["failed"]) == ("PACS", 1, 3)


def test_a_request_outlives_the_requester_s_absence(tmp_path: Path) -> None:
    """Answered 0000, so the report comes, though the requester and the courier were away."""
    port = lab.free_port()
    made = lab.data_set()
    senders = [{"ae_title": "PACS", "host": "127.0.0.1", "port": port}]
    with lab.running(tmp_path, accept_from=senders) as node:
        lab.send(node, made)
        assert _ask(node, _request((lab.CT, made.SOPInstanceUID))) == 0x0000
        node.kill()
        assert len(list(box.letters(node.storage.spool))) == 1
    with _house(tmp_path, port) as (_, beside):
        time.sleep(2)  # it is tried, and nobody hears
        heard: list[Dataset] = []
        entity = AE("PACS")
        entity.add_supported_context(PUSH, scu_role=True, scp_role=True)

        def hear(event: evt.Event) -> tuple[int, None]:
            heard.append(event.event_information)
            return 0x0000, None

        entity.start_server(
            ("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_N_EVENT_REPORT, hear)]
        )
        assert lab.eventually(lambda: beside.count(EventName.ANSWERED) == 1, 30)
        entity.shutdown()
    assert heard[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID == made.SOPInstanceUID


def test_requests_that_are_not_taken(tmp_path: Path) -> None:
    senders = [{"ae_title": "PACS", "host": "127.0.0.1", "port": 9}, {"ae_title": "PROBE"}]
    with lab.running(tmp_path, accept_from=senders) as node:
        good = _request((lab.CT, "1.2.3"))
        assert _ask(node, good, calling="PROBE") == 0x0124  # nobody knows where to report to
        assert _ask(node, good, to="1.2.3") == 0x0112
        assert _ask(node, _request()) == 0x0115
        assert list(box.letters(node.storage.spool)) == []
        assert lab.eventually(
            lambda: any("no port" in str(e.details) for e in node.audit("110113"))
        )
        with lab.associated(node, {PUSH: []}) as assoc:  # no C-STORE this way
            status = lab.talk(assoc, lab.store_rq(PUSH, "1.2.3"), b"\0" * 20)
        assert status in (0x0122, 0xA900, 0xC000)


def test_a_report_about_nothing_is_noted_and_forgotten(tmp_path: Path) -> None:
    with _listening() as (port, _), _house(tmp_path, port) as (node, beside):
        entity = AE("PACS")
        entity.add_requested_context(PUSH)
        role = build_role(PUSH, scp_role=True)
        assoc = entity.associate("127.0.0.1", node.port, ae_title="DICTAMEN", ext_neg=[role])
        assert assoc.is_established
        status, _ = assoc.send_n_event_report(_request((SC, "1.2.3")), 1, PUSH, INSTANCE)
        assoc.release()
        assert status.Status == 0x0000
        assert lab.eventually(lambda: beside.count(EventName.UNKNOWN) == 1)


# ---- Orthanc, both ways ---------------------------------------------------------------------
@contextmanager
def _orthanc(folder: Path, dicom: int, node_port: int) -> Iterator[str]:
    """Orthanc as the PACS at this port, which knows us as `node`; its address."""
    http = lab.free_port()
    (folder / "db").mkdir()
    settings = {
        "StorageDirectory": str(folder / "db"), "IndexDirectory": str(folder / "db"),
        "Plugins": [], "HttpPort": http, "DicomPort": dicom, "DicomAet": "PACS",
        "AuthenticationEnabled": False, "RemoteAccessAllowed": False,
        "DicomAlwaysAllowStore": True, "UnknownSopClassAccepted": True,
        "DicomModalities": {
            "node": {
                "AET": "DICTAMEN", "Host": "127.0.0.1", "Port": node_port,
                "AllowStorageCommitment": True,
            }
        },
    }  # fmt: skip
    (folder / "orthanc.json").write_text(json.dumps(settings))
    with (folder / "orthanc.log").open("wb") as log:
        process = subprocess.Popen([str(ORTHANC), str(folder / "orthanc.json")], stderr=log)
    base = f"http://127.0.0.1:{http}"
    try:
        assert lab.eventually(lambda: _json(f"{base}/system"), 30)
        yield base
    finally:
        process.terminate()
        process.wait(20)


def _json(url: str, body: Any = None) -> Any:
    raw = None if body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, raw), timeout=30) as answer:
            return json.load(answer)
    except OSError:
        return None


@pytest.mark.system
@pytest.mark.skipif(ORTHANC is None, reason="Orthanc is not installed")
def test_orthanc_commits_on_an_association_of_its_own(tmp_path: Path) -> None:
    """Orthanc reports to our door, where nobody has a database: the box carries it."""
    port = lab.free_port()
    with _house(tmp_path, port) as (node, beside), _orthanc(tmp_path, port, node.port):
        file_study(node.storage, 1, TWO)
        done = lab.eventually(lambda: _commitments(node.storage) == {"committed": 2}, 40)
        assert done, (beside.events, node.log, (tmp_path / "orthanc.log").read_text()[-3000:])


@pytest.mark.system
@pytest.mark.skipif(ORTHANC is None, reason="Orthanc is not installed")
def test_orthanc_asks_us(tmp_path: Path) -> None:
    port = lab.free_port()
    with _house(tmp_path, port) as (node, _), _orthanc(tmp_path, port, node.port) as base:
        made = lab.data_set()
        assert lab.send(node, made) == [0]
        wanted = [[lab.CT, made.SOPInstanceUID], [lab.CT, "1.2.3.4.5"]]
        said = _json(f"{base}/modalities/node/storage-commitment", {"DicomInstances": wanted})
        assert said is not None, (tmp_path / "orthanc.log").read_text()[-3000:]
        answer = f"{base}{said['Path']}"
        assert lab.eventually(lambda: _json(answer)["Status"] != "Pending", 30)
        found = _json(answer)
        assert [one["SOPInstanceUID"] for one in found["Success"]] == [made.SOPInstanceUID]
        (failed,) = found["Failures"]
        assert (failed["SOPInstanceUID"], failed["FailureReason"]) == ("1.2.3.4.5", NO_SUCH)
