"""A storage with finished runs in it, and a courier that runs beside a test."""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from destination_peers import CLASS_OF, dicom_bytes, hl7_bytes, wait_until

from dicom_node import courier
from dicom_node.destinations import Destination
from storage import (
    AuditRecord,
    Delivery,
    DeliveryState,
    Identity,
    MessageKind,
    NewInstance,
    NewMessage,
    NewReport,
    PlannedRun,
    RunState,
    Storage,
    StudyRecord,
    open_storage,
    upgrade,
)

KEY = b"a key for tests"
Wanted = Sequence[tuple[str, Sequence[str]]]  # kind, destinations
TO_BOTH: Wanted = (("overlay", ["pacs"]), ("structured_report", ["pacs"]), ("hl7_oru", ["ris"]))


@contextmanager
def storage_in(folder: Path, *, age: timedelta = timedelta()) -> Iterator[Storage]:
    """age: how long ago everything that is filed here happens."""
    folder.mkdir(parents=True, exist_ok=True)
    url = f"sqlite:///{folder / 'dictamen.db'}"
    upgrade(url)
    opened = open_storage(
        url, folder, KEY, who="courier", clock=lambda: datetime.now(UTC) - age, check=False
    )
    try:
        yield opened
    finally:
        opened.close()


def file_study(storage: Storage, number: int, wanted: Wanted = TO_BOTH) -> dict[str, str]:
    """A received study with a completed run whose reports wait in the outbox: kind -> uid."""
    study = f"2.25.7{number:03d}"
    identity = Identity(study, "P-1", "", "Peña^José", "19700101", "A-1")
    source = f"{study}.1.1"
    path = storage.spool.write("objects", f"{source}.dcm", dicom_bytes(source, study=study))
    storage.studies.add(
        NewInstance(
            source,
            "1.2.840.10008.5.1.4.1.1.1.1",
            "1.2.840.10008.1.2.1",
            f"{study}.1",
            identity,
            hashlib.sha256(source.encode()).hexdigest(),
            1000,
            path,
            "PACS",
            "DICTAMEN",
            "127.0.0.1",
            {},
            datetime.now(UTC),
        ),
        on_conflict="keep_first",
    )
    planned = PlannedRun("chest", f"digest-{number}", (source,))
    storage.studies.plan(
        study, [planned], trace=(), instances_seen=1, done=True, at=datetime.now(UTC)
    )
    run = storage.runs.claim("worker")
    assert run is not None
    reports = [report(storage, study, place, *each) for place, each in enumerate(wanted)]
    storage.runs.finish(run, state=RunState.COMPLETED, reason="", analysis={}, reports=reports)
    return {each.kind: each.uid for each in reports}


def message(study: StudyRecord, kind: MessageKind) -> NewMessage:
    """A dictated or signed report of a filed study, as the inbox takes it."""
    patients = ((study.identity.patient_id, study.identity.issuer),)
    return NewMessage(
        "RIS|H", f"C-{kind}", kind.ljust(64, "0"), 100, f"messages/{kind}.hl7", kind,
        study.identity, patients, str(kind), "", "", "127.0.0.1", datetime.now(UTC),
    )  # fmt: skip


def report(
    storage: Storage, study: str, place: int, kind: str, destinations: Sequence[str]
) -> NewReport:
    is_hl7 = kind == "hl7_oru"
    uid = f"ORU{study.replace('.', '')}" if is_hl7 else f"{study}.9.{place}"
    payload = hl7_bytes(uid, study) if is_hl7 else dicom_bytes(uid, CLASS_OF[kind], study)
    ending = "hl7" if is_hl7 else "dcm"
    path = storage.spool.write("reports", f"{study}-{place}.{ending}", payload)
    digest = hashlib.sha256(payload).hexdigest()
    return NewReport(
        kind, place, uid, digest, len(payload), path, CLASS_OF[kind], tuple(destinations)
    )


def change_report(storage: Storage, delivery: Delivery, payload: bytes) -> None:
    """Write other bytes where a report lies, behind the service's back."""
    storage.spool.path(delivery.report.path).write_bytes(payload)


def of(storage: Storage, uid: str) -> Delivery:
    (found,) = [each for each in storage.outbox.list(limit=1000) if each.report.uid == uid]
    return found


def states(storage: Storage) -> Counter[str]:
    return Counter(each.state.value for each in storage.outbox.list(limit=10_000))


def all_delivered(storage: Storage) -> bool:
    return set(states(storage)) == {DeliveryState.DELIVERED}


def audit(storage: Storage, event: str) -> list[AuditRecord]:
    rows = storage.audit.list(after=0, limit=10_000)
    return [row for row in rows if row.entry.event == event]


@dataclass
class Running:
    """A courier in a thread, and what it said."""

    events: list[str] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)

    def count(self, event: str) -> int:
        return self.events.count(event)


@contextmanager
def running(
    storage: Storage,
    destinations: Mapping[str, Destination],
    *,
    give_up_after: float = 3 * 86400.0,
    committing: Collection[str] = (),
) -> Iterator[Running]:
    beside = Running()
    named = {name: (each, give_up_after) for name, each in destinations.items()}
    thread = threading.Thread(
        target=courier.run,
        args=(storage, named, beside.stopping),
        kwargs={"on_event": beside.events.append, "poll": 0.05, "committing": committing},
        daemon=True,
    )
    thread.start()
    try:
        yield beside
    finally:
        beside.stopping.set()
        thread.join(30)
        assert not thread.is_alive(), "the courier did not stop"


def carry_until(
    storage: Storage,
    destinations: Mapping[str, Destination],
    done: Callable[[], object],
    *,
    seconds: float = 30.0,
    give_up_after: float = 3 * 86400.0,
) -> Running:
    """Run a courier until `done`, then stop it."""
    with running(storage, destinations, give_up_after=give_up_after) as beside:
        wait_until(done, seconds)
    return beside


def other_patient(payload: bytes) -> bytes:
    """The same report of a patient with another number, of the same length."""
    return payload.replace(b"P-1", b"P-2")
