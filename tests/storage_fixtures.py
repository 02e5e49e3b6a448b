"""Fixtures of a storage on each kind of database, and makers of what is filed in it.

`node`: an empty one, on SQLite and on PostgreSQL in turn. A server that cannot be started is a
failure with DICTAMEN_SYSTEM=1 and a skip with its reason otherwise. A test module uses the
fixtures by importing the functions (`node_fixture` and what it asks for).
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from databases import Server, missing, private_postgres
from sqlalchemy import Engine, NullPool, create_engine, text

from storage import (
    Identity,
    NewInstance,
    NewReport,
    PlannedRun,
    Run,
    RunState,
    Storage,
    open_storage,
    upgrade,
)

KEY = b"the key of the tests"
NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
STUDY = "1.2.826.0.1.3680043.8.498.1"


class Clock:
    """A wall clock that the test sets."""

    def __init__(self, now: datetime = NOON) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **by: float) -> None:
        self.now += timedelta(**by)


@dataclass
class Node:
    """One database and one spool, opened as often as a test likes."""

    url: str
    folder: Path
    clock: Clock = field(default_factory=Clock)
    _opened: list[Storage] = field(default_factory=list)

    def open(self, who: str = "tests", **options: Any) -> Storage:
        """One more process, as it were."""
        options = {"clock": self.clock, **options}
        opened = open_storage(self.url, self.folder, KEY, who=who, **options)
        self._opened.append(opened)
        return opened

    @property
    def storage(self) -> Storage:
        """The first one that was opened."""
        return self._opened[0] if self._opened else self.open()

    def close(self) -> None:
        while self._opened:
            self._opened.pop().close()

    def sql(self, *statements: str) -> None:
        """Lay hands on the tables behind the gateways' back."""
        with self.engine().begin() as connection:
            for statement in statements:
                connection.execute(text(statement))

    def rows(self, statement: str) -> list[Any]:
        with self.engine().begin() as connection:
            return list(connection.execute(text(statement)))

    def engine(self) -> Engine:
        """One without connections kept open, so nothing is left to close."""
        return create_engine(self.url, poolclass=NullPool)

    @property
    def is_sqlite(self) -> bool:
        return self.url.startswith("sqlite")

    @property
    def file(self) -> Path:
        return self.folder / "dictamen.db"

    def process(self, what: str, *arguments: str) -> subprocess.Popen[str]:
        """A real process of tests/storage_process.py that works on this node."""
        program = Path(__file__).parent / "storage_process.py"
        command = [sys.executable, str(program), what, self.url, str(self.folder), *arguments]
        root = str(Path(__file__).parent.parent)
        return subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stdin=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": root},
        )


_servers: list[Server] = []


@pytest.fixture(scope="session", name="server")
def server_fixture(request: pytest.FixtureRequest) -> Server:
    """A private PostgreSQL server, one for the whole session."""
    why = missing()
    if why and os.environ.get("DICTAMEN_SYSTEM") == "1":
        pytest.fail(why)
    if why:
        pytest.skip(why)
    if not _servers:
        stack = ExitStack()
        request.config.add_cleanup(stack.close)
        _servers.append(stack.enter_context(private_postgres()))
    return _servers[0]


@pytest.fixture(scope="session", name="ready_file")
def ready_file_fixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An upgraded SQLite database to copy."""
    file = tmp_path_factory.mktemp("ready") / "dictamen.db"
    upgrade(f"sqlite:///{file}")
    return file


@pytest.fixture(name="sqlite_node")
def sqlite_node_fixture(tmp_path: Path, ready_file: Path) -> Iterator[Node]:
    """An empty node on SQLite."""
    shutil.copyfile(ready_file, tmp_path / "dictamen.db")
    node = Node(f"sqlite:///{tmp_path / 'dictamen.db'}", tmp_path)
    yield node
    node.close()


@pytest.fixture(name="postgres_node")
def postgres_node_fixture(tmp_path: Path, server: Server) -> Iterator[Node]:
    """An empty node on PostgreSQL."""
    node = Node(server.url(upgraded=True), tmp_path)
    yield node
    node.close()


@pytest.fixture(
    name="node",
    params=[
        pytest.param("sqlite_node", id="sqlite"),
        pytest.param("postgres_node", id="postgresql", marks=pytest.mark.system),
    ],
)
def node_fixture(request: pytest.FixtureRequest) -> Node:
    """An empty node, on each kind of database in turn."""
    found: Node = request.getfixturevalue(request.param)
    return found


def instance(
    number: int = 1,
    *,
    study: str = STUDY,
    content: str = "",
    patient: str = "P1",
    issuer: str = "HOSPITAL",
    at: datetime = NOON,
    **more: Any,
) -> NewInstance:
    """A received instance; other `content`, other bytes."""
    sha256 = hashlib.sha256(f"{study} {number} {content}".encode()).hexdigest()
    sop_uid = f"{study}.7.{number}"
    identity = more.get("identity", Identity(study, patient, issuer, "Muñoz^Ana", "19700101", "A1"))
    values: dict[str, Any] = {
        "sop_uid": sop_uid,
        "sop_class": "1.2.840.10008.5.1.4.1.1.1.1",
        "transfer_syntax": "1.2.840.10008.1.2.1",
        "series_uid": f"{study}.1",
        "identity": identity,
        "sha256": sha256,
        "size": 1000,
        "path": f"objects/{sha256[:2]}/{sha256}.dcm",
        "calling_ae": "PACS",
        "called_ae": "DICTAMEN",
        "address": "10.1.2.3",
        "headers": {
            "SpecificCharacterSet": "ISO_IR 192",
            "Modality": "DX",
            "ImageType": ["ORIGINAL", "PRIMARY"],
            "PatientID": identity.patient_id,
            "IssuerOfPatientID": identity.issuer,
            "PatientName": identity.patient_name,
            "PatientBirthDate": identity.birth_date,
            "AccessionNumber": identity.accession,
        },
        "received_at": at,
    }
    return NewInstance(**{**values, **more})


def add(storage: Storage, *new: NewInstance, on_conflict: str = "keep_first") -> Any:
    """File instances one by one; returns what became of the last."""
    return [storage.studies.add(one, on_conflict=on_conflict) for one in new][-1]


def plan(
    storage: Storage,
    study: str = STUDY,
    *,
    processor: str = "chest",
    urgent: bool = False,
    at: datetime = NOON,
) -> tuple[Run, ...]:
    """Settle a study with one run over all that it has now."""
    found = storage.studies.instances(study)
    digest = hashlib.sha256("".join(sorted(one.sha256 for one in found)).encode()).hexdigest()
    uids = tuple(one.sop_uid for one in found)
    return storage.studies.plan(
        study,
        [PlannedRun(processor, digest, uids, urgent=urgent)],
        trace=[{"processor": processor, "picked": list(uids), "skipped": {}}],
        instances_seen=len(found),
        done=True,
        at=at,
    )


def waiting(storage: Storage, study: str = STUDY, *, urgent: bool = False) -> Run:
    """A received, settled study; returns its run, ready to be claimed."""
    add(storage, instance(study=study))
    return plan(storage, study, urgent=urgent)[0]


def report(run: Run, kind: str = "overlay", to: tuple[str, ...] = ("pacs",)) -> NewReport:
    """A report of `run`; HL7 has no SOP Class."""
    uid = f"2.25.{run.id}{sum(kind.encode())}"
    sop_class = "" if kind == "hl7_oru" else "1.2.840.10008.5.1.4.1.1.7"
    return NewReport(kind, 0, uid, "ab" * 32, 10, f"reports/{uid}", sop_class, to)


def finish(
    storage: Storage, run: Run, state: RunState = RunState.COMPLETED, reason: str = "", **more: Any
) -> None:
    """End a claimed run; without more it has one report to the PACS."""
    reports = more.pop("reports", [report(run)])
    analysis = more.pop("analysis", {"status": state.value})
    storage.runs.finish(run, state=state, reason=reason, analysis=analysis, reports=reports, **more)


def completed(storage: Storage, study: str = STUDY, **more: Any) -> Run:
    """A study whose run is completed and whose report waits in the outbox."""
    waiting(storage, study)
    claimed = storage.runs.claim("worker")
    assert claimed is not None
    finish(storage, claimed, **more)
    return claimed


def columns(storage: Storage) -> dict[str, int]:
    """The books' columns that are not empty; they must close."""
    books = storage.studies.books(None, None)
    assert books.difference == 0
    return {column: number for column, number in books.columns.items() if number}
