"""Writes the dumps of tests/storage/fixtures: a database of the first migration, with every state.

Run once, when that migration was released (`python tests/storage/first_migration.py`, with
tests/ and the repository on PYTHONPATH); the dumps are kept, so that a change to a released
migration or to what the gateways can read shows. `fill` is what they hold.
"""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import tempfile
from datetime import timedelta
from pathlib import Path

from databases import Server, private_postgres
from sqlalchemy import create_engine, insert, inspect, select, text
from storage_fixtures import (
    KEY,
    NOON,
    Clock,
    add,
    completed,
    finish,
    instance,
    plan,
    report,
    waiting,
)

from storage import DeliveryState, RunState, Storage, open_storage, upgrade
from storage.tables import metadata

FIXTURES = Path(__file__).parent / "fixtures"
SQLITE, POSTGRESQL = FIXTURES / "first_migration.sql", FIXTURES / "first_migration.postgresql.sql"
ENDINGS = (RunState.COMPLETED, RunState.UNSUITABLE, RunState.FAILED)


def fill(storage: Storage) -> None:
    """Studies, runs and deliveries in every state that there is."""
    for number, state in enumerate(ENDINGS):
        completed(storage, f"1.2.{number}", state=state, reason=f"because {state.value}")
    for number, ended in enumerate(DeliveryState):
        _delivery(storage, f"1.3.{number}", ended)
    _unfinished(storage)
    add(storage, instance(study="1.5.1"))
    add(storage, instance(study="1.5.2"), instance(2, study="1.5.2", patient="P2"))
    add(storage, instance(study="1.5.3"))
    skipped = {"skipped": {"not a chest": 1}}
    storage.studies.plan("1.5.3", [], trace=[skipped], instances_seen=1, done=True, at=NOON)


def _delivery(storage: Storage, study: str, ended: DeliveryState) -> None:
    waiting(storage, study)
    claimed = storage.runs.claim("worker")
    assert claimed is not None
    finish(storage, claimed, reports=[report(claimed, to=(ended.value,))])
    if ended is DeliveryState.WAITING:
        return
    (sending,) = storage.outbox.claim(ended.value, NOON)
    if ended is not DeliveryState.SENDING:
        storage.outbox.record(sending, ended, answer="what the peer said")


def _unfinished(storage: Storage) -> None:
    """Superseded, set aside, waiting, running, and last the one that is ready."""
    for number, most in enumerate((1, 3)):
        waiting(storage, f"1.4.{number}")
        run = storage.runs.claim("worker")
        assert run is not None
        soon = NOON + timedelta(hours=1)
        storage.runs.release(run, "killed by signal 9", max_attempts=most, not_before=soon)
    waiting(storage, "1.4.2")
    assert storage.runs.claim("a worker that died") is not None
    waiting(storage, "1.4.3")
    add(storage, instance(2, study="1.4.3"))
    plan(storage, "1.4.3")


def _copy(newest: str, first: str) -> None:
    """Every row of `newest` into the tables of the first migration, as far as it has columns."""
    source, target = create_engine(newest), create_engine(first)
    names = inspect(target)
    with source.begin() as reading, target.begin() as writing:
        writing.execute(text("DELETE FROM alembic_version"))
        writing.execute(text("INSERT INTO alembic_version VALUES ('0001')"))
        for table in metadata.sorted_tables:
            known = [column["name"] for column in names.get_columns(table.name)]
            columns = [table.c[name] for name in known]
            rows = [dict(row._mapping) for row in reading.execute(select(*columns))]
            if table.name == "audit_head":
                writing.execute(table.update().values(**rows[0]))
            elif rows:
                writing.execute(insert(table), rows)
            if "id" in known and target.dialect.name == "postgresql" and rows:
                name = f"pg_get_serial_sequence('{table.name}', 'id')"
                newest_id = max(row["id"] for row in rows)
                if writing.scalar(text(f"SELECT {name}")):
                    writing.execute(text(f"SELECT setval({name}, {newest_id})"))
    source.dispose()
    target.dispose()


def _filled(newest: str, first: str) -> None:
    upgrade(newest)
    with tempfile.TemporaryDirectory() as folder:
        storage = open_storage(newest, Path(folder), KEY, who="first", clock=Clock())
        fill(storage)
        storage.close()
    upgrade(first, revision="0001")
    _copy(newest, first)


def dump_sqlite() -> None:
    """The dump for SQLite, with the schema."""
    with tempfile.TemporaryDirectory() as folder:
        _filled(f"sqlite:///{folder}/newest.db", f"sqlite:///{folder}/first.db")
        connection = sqlite3.connect(f"{folder}/first.db")
        SQLITE.write_text("\n".join(connection.iterdump()) + "\n", encoding="utf-8")
        connection.close()


def dump_postgresql(server: Server) -> None:
    """The dump for PostgreSQL, with the schema."""
    first = server.url()
    _filled(server.url(), first)
    arguments = ["--inserts", "--no-owner", "--no-privileges", first.rsplit("/", 1)[1]]
    dumped: subprocess.CompletedProcess[bytes] = server.run("pg_dump", *arguments)
    lines = dumped.stdout.decode().splitlines()
    # what a later patch release of the same server writes and an earlier one cannot read
    kept = [line for line in lines if not line.startswith(("\\restrict", "\\unrestrict"))]
    POSTGRESQL.write_text("\n".join(kept) + "\n", encoding="utf-8")


if __name__ == "__main__":
    FIXTURES.mkdir(exist_ok=True)
    dump_sqlite()
    with private_postgres() as running:
        dump_postgresql(running)
    sys.stdout.write(f"{SQLITE}\n{POSTGRESQL}\n")
