"""What becomes of a run that its worker cannot carry to an end, on both databases."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pydicom
import pytest
from destination_peers import dicom_bytes
from storage_fixtures import (  # noqa: F401 - the fixtures that `node` asks for
    STUDY,
    Node,
    instance,
    node_fixture,
    plan,
    postgres_node_fixture,
    ready_file_fixture,
    server_fixture,
    sqlite_node_fixture,
)

from dicom_node import wiring, worker
from processors import Algorithm, Analysis, Refusal, Study
from processors.bounded import DeviceLost
from reports import Options
from storage import Identity, NewInstance, Run, RunState, Storage, StorageError, StorageFull


class Refuses:
    """Refuses every study."""

    name = "chest"
    algorithm = Algorithm("refuses", "1", "0" * 64)

    def accepts(self, study: Study) -> Refusal | None:
        return Refusal("view", "Not assessed because this is a test.")

    def analyse(self, study: Study) -> Analysis:
        raise AssertionError("every study is refused")


class HasLost(Refuses):
    """A model of a site's on a GPU that answers no more; it has no spare."""

    def accepts(self, study: Study) -> Refusal | None:
        raise DeviceLost("cuda was lost: unspecified launch failure.")


def judges(*names: str, of: type[Refuses] = Refuses) -> wiring.Judges:
    judge = wiring.Judge(
        processor=of(),
        options=Options(),
        kinds=lambda _status: ("text_report",),
        destinations=lambda _report: ("pacs",),
    )
    return wiring.Judges(dict.fromkeys(names, judge))


def one_run(storage: Storage, known: wiring.Judges) -> Run:
    """Let the product's worker take the newest run, which is ready; the run as it is then."""
    run = storage.runs.list()[-1]
    stopping = threading.Event()
    worker.serve(storage, known, stopping, lease=30.0, filed=stopping.set)
    found = storage.runs.get(run.id)
    assert found is not None
    return found


def film(storage: Storage, charset: str, content: str = "") -> NewInstance:
    """A film of a patient whose name needs UTF-8, as the intake files it."""
    uid = f"{STUDY}.7.1"
    data = dicom_bytes(uid, study=STUDY).replace(b"ISO_IR 192", charset.encode().ljust(10))
    path = storage.spool.write("objects", f"film{content}.dcm", data)
    whose = Identity(STUDY, "P-1", "", "Peña^José", "19700101", "A-1")
    return instance(path=path, identity=whose, content=content)


@pytest.mark.parametrize("zone", ["Europe/Madrid", "America/Bogota", "UTC"])
def test_a_report_is_dated_as_the_images_are_in_the_hospitals_time(
    node: Node, monkeypatch: pytest.MonkeyPatch, zone: str
) -> None:
    """Neither names an offset, and both are read as local (PS3.3 C.12.1.1.8)."""
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        node.storage.studies.add(film(node.storage, "ISO_IR 192"), on_conflict="keep_first")
        plan(node.storage)
        before = datetime.now(UTC).replace(microsecond=0)
        run = one_run(node.storage, judges("chest"))
        (report,) = node.storage.runs.reports(run.id)
        made = pydicom.dcmread(node.storage.spool.path(report.path))
    finally:
        monkeypatch.undo()
        time.tzset()
    said = datetime.strptime(made.ContentDate + made.ContentTime, "%Y%m%d%H%M%S")
    told = said.replace(tzinfo=ZoneInfo(zone))
    assert before <= told <= datetime.now(UTC)
    assert "TimezoneOffsetFromUTC" not in made


def test_the_way_out_of_a_name_that_does_not_decode(node: Node) -> None:
    """What is sent again under its UID counts only once the first one was left out."""
    storage = node.storage
    storage.studies.add(film(storage, "ISO_IR 6"), on_conflict="keep_first")
    plan(storage, STUDY)
    assert one_run(storage, judges("chest")).state is RunState.SET_ASIDE
    held = storage.studies.get(STUDY)
    assert held is not None
    assert "correct the Specific Character Set" in held.reason
    assert "dictamen studies retry STUDY --without SOP_UID" in held.reason
    assert storage.studies.exclude(STUDY, f"{STUDY}.7.1", "a person")
    assert storage.studies.release(STUDY, "a person")
    again = storage.studies.add(film(storage, "ISO_IR 192", "2"), on_conflict="keep_first")
    assert (again.kept, again.held) == (True, "")
    plan(storage, STUDY)
    newest = one_run(storage, judges("chest"))
    assert newest.state is RunState.UNSUITABLE
    assert [d.destination for d in storage.outbox.list()] == ["pacs"]


@pytest.mark.parametrize(
    ("error", "state", "tries"),
    [
        pytest.param(StorageFull("no space left", then="Free it."), "waiting", 0, id="disk full"),
        pytest.param(
            StorageError("a rule was broken"), "running", 1, id="a bug: its lease ends it"
        ),
        pytest.param(ValueError("a bug"), "ready", 1, id="another bug: freed at once"),
    ],
)
def test_a_full_disk_is_no_attempt_of_the_study(
    node: Node, monkeypatch: pytest.MonkeyPatch, error: Exception, state: str, tries: int
) -> None:
    """Else each study in the queue is set aside within three leases, for a worker's silence."""
    storage = node.storage
    storage.studies.add(film(storage, "ISO_IR 192"), on_conflict="keep_first")
    plan(storage, STUDY)

    def full(*_: object) -> str:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(storage.spool, "write", full)
        run = one_run(storage, judges("chest"))
    assert (run.state, run.tries) == (state, tries)
    if state == "ready":
        assert run.reason == "internal error: ValueError"
    if state == "waiting":
        assert run.reason == "no space left Free it."
        node.clock.now += timedelta(minutes=2)
        assert one_run(storage, judges("chest")).state is RunState.UNSUITABLE
        assert [d.destination for d in storage.outbox.list()] == ["pacs"]


def test_a_worker_whose_device_is_lost_ends_and_its_run_waits(node: Node) -> None:
    """Only a new process gets the device back: this one would put off every run for ever."""
    storage, stopping = node.storage, threading.Event()
    storage.studies.add(film(storage, "ISO_IR 192"), on_conflict="keep_first")
    plan(storage, STUDY)
    known, filed = judges("chest", of=HasLost), list[bool]()
    worker.serve(
        storage, known, stopping, lease=30.0, filed=lambda: filed.append(stopping.is_set()),
        wait=lambda _: stopping.set(),
    )  # fmt: skip
    assert filed == [True]
    (run,) = storage.runs.list()
    assert (run.state, run.tries) == (RunState.WAITING, 0)
    assert "was lost" in run.reason
